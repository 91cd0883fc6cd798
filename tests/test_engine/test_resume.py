"""Where a training goes on."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, OptimWrapper

from mmrazor_bignas.engine.resume import (
    Layout,
    find_checkpoints,
    find_resume_point,
    fit,
    move_aside,
    remove_leftovers,
    resume_from,
)
from mmrazor_bignas.errors import InputError


def checkpoint(path, iteration: int, length: int = 10, **more):
    meta = {'iter': iteration, 'epoch': iteration // length, 'seed': 7}
    meta['layout'] = {'iters_per_epoch': length, 'world_size': 2, 'batch_size': 4}
    torch.save({'state_dict': {'w': torch.zeros(100)}, 'meta': meta, 'optimizer': {}, 'message_hub': {}, **more}, path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Four checkpoints, of which names and times say another order than their progress; and one of something else."""
    checkpoint(tmp_path / 'epoch_9.pth', 90)
    checkpoint(tmp_path / 'epoch_10.pth', 100)
    checkpoint(tmp_path / 'iter_95.pth', 95)
    checkpoint(tmp_path / 'iter_49.pth', 49, length=5)
    checkpoint(tmp_path / 'best_subnet.pth', 1)
    return tmp_path


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_newest_is_farthest(folder):
    found = find_checkpoints(folder)
    assert names(found.whole) == ['epoch_10.pth', 'iter_49.pth', 'iter_95.pth', 'epoch_9.pth']
    assert found.whole[folder / 'iter_49.pth'] == 9.8
    assert found.broken == {}


@pytest.mark.parametrize('damage', ['cut', 'empty', 'text'])
def test_a_broken_newest_is_passed_over_and_named(folder, damage):
    newest = folder / 'epoch_10.pth'
    content = newest.read_bytes()
    newest.write_bytes({'cut': content[: len(content) // 2], 'empty': b'', 'text': b'hello'}[damage])
    point, notes = find_resume_point(folder)
    assert point == folder / 'iter_49.pth'
    assert len(notes) == 1
    assert str(newest) in notes[0]
    assert notes[0].endswith(f'going on with {point}')


def test_no_whole_checkpoint_is_no_reason_to_begin_anew(folder):
    for path in find_checkpoints(folder).whole:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r'no checkpoint of .* is whole') as error:
        find_resume_point(folder)
    assert str(error.value).count('.pth') == 4


def test_no_checkpoint_at_all(tmp_path):
    assert find_resume_point(tmp_path) == (None, [])
    assert find_resume_point(tmp_path / 'none') == (None, [])


def test_what_is_beyond_is_moved_aside(folder):
    (folder / 'iter_3.pth').write_text('broken')
    assert move_aside(folder, 9.5) == folder / 'earlier.1'
    assert sorted(names((folder / 'earlier.1').iterdir())) == [
        'epoch_10.pth',
        'iter_3.pth',
        'iter_49.pth',
        'iter_95.pth',
    ]
    assert move_aside(folder, 9.5) is None
    assert move_aside(folder, 0.0) == folder / 'earlier.2'
    assert names(folder.glob('*.pth')) == ['best_subnet.pth']


def test_half_written_files_are_removed(folder):
    (folder / '.epoch_11.pth.tmp').write_bytes(b'half')
    remove_leftovers(folder)
    assert not list(folder.glob('.*'))
    assert len(find_checkpoints(folder).whole) == 4


def test_the_seed_is_that_of_the_checkpoint(folder):
    cfg = Config({'randomness': {'seed': 1, 'deterministic': True}})
    resume_from(cfg, str(folder / 'epoch_9.pth'))
    assert cfg.resume
    assert cfg.load_from == str(folder / 'epoch_9.pth')
    assert cfg.randomness == {'seed': 7, 'deterministic': True}


def test_weights_alone_are_no_training(tmp_path):
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='has no optimizer, so it is not of a training'):
        resume_from(Config(), str(tmp_path / 'a.pth'))


def stand_in(length: int, batch_size: int, lr: float = 0.4, accumulate: int = 1):
    """What of a Runner counts, with real schedules of 10 epochs: 2 of warm-up, times a cosine."""
    model = torch.nn.Linear(2, 2)
    groups = [{'params': [model.weight]}, {'params': [model.bias], 'lr': lr / 2}]
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=lr, momentum=0.9))

    class Loader:
        batch_sampler = SimpleNamespace(batch_size=batch_size)

        def __len__(self):
            return length

    return SimpleNamespace(
        train_dataloader=Loader(),
        train_loop=SimpleNamespace(accumulate=accumulate),
        world_size=2,
        optim_wrapper=wrapper,
        param_schedulers=[
            LinearLR(wrapper, start_factor=0.001, by_epoch=False, begin=0, end=2 * length),
            CosineAnnealingLR(wrapper, T_max=10 * length, by_epoch=False, begin=0, end=10 * length),
        ],
    )


def saved_at(steps: int, length: int, batch_size: int) -> dict:
    runner = stand_in(length, batch_size)
    for _ in range(steps):
        for scheduler in runner.param_schedulers:
            scheduler.step()
    meta = {'iter': steps, 'epoch': steps // length, 'layout': Layout.of(runner)._asdict()}
    schedules = [scheduler.state_dict() for scheduler in runner.param_schedulers]
    return {'meta': meta, 'optimizer': runner.optim_wrapper.state_dict(), 'param_schedulers': schedules}


def rates(saved: dict) -> list[float]:
    return [group['lr'] for group in saved['optimizer']['param_groups']]


@pytest.mark.parametrize('steps', [0, 1, 13, 40, 47, 99])
@pytest.mark.parametrize(('length', 'batch_size'), [(20, 2), (5, 8), (7, 6)])
def test_schedules_of_another_size_are_those_of_their_step(steps, length, batch_size):
    saved = saved_at(steps, 10, 4)
    lines = fit(saved, stand_in(length, batch_size), 'a.pth')
    expected_step = steps // 10 * length + steps % 10 * length // 10
    assert saved['meta']['iter'] == expected_step
    expected = saved_at(expected_step, length, batch_size)
    assert rates(saved) == pytest.approx(rates(expected), rel=1e-12)
    assert [s['last_step'] for s in saved['param_schedulers']] == [s['last_step'] for s in expected['param_schedulers']]
    assert f'a.pth was saved by 2 process(es) x 4 images a step; this run has 2 x {batch_size}' in lines[0]


def test_the_same_size_changes_nothing():
    saved = saved_at(47, 10, 4)
    before = rates(saved)
    assert fit(saved, stand_in(10, 4, lr=9.0), 'a.pth') == []
    assert rates(saved) == before
    assert saved['meta']['iter'] == 47


def test_a_scaled_rate_is_taken_over():
    """As --auto-scale-lr scales it before."""
    saved = saved_at(40, 10, 4)
    expected = [2 * rate for rate in rates(saved)]
    fit(saved, stand_in(5, 8, lr=0.8), 'a.pth')
    assert rates(saved) == pytest.approx(expected)


def test_half_a_step_is_done_again():
    saved = saved_at(43, 10, 4)
    fit(saved, stand_in(20, 2, accumulate=4), 'a.pth')
    assert saved['meta']['iter'] == 84


@pytest.mark.parametrize(('length', 'accumulate'), [(5, 1), (7, 1), (12, 4), (24, 4), (13, 1), (300, 6)])
@pytest.mark.parametrize('steps', [0, 3, 9, 10, 12, 29, 95, 99])  # 12 / 10 - 1 is less than 0.2
def test_no_step_is_left_out_and_less_than_one_done_twice(steps, length, accumulate):
    saved = saved_at(steps, 10, 4)
    fit(saved, stand_in(length, 3, accumulate=accumulate), 'a.pth')
    behind = Fraction(steps, 10) * length - saved['meta']['iter']
    assert 0 <= behind < accumulate
    assert saved['meta']['iter'] % accumulate == 0
    assert saved['meta']['epoch'] == steps // 10  # of which it is within
    assert 0 <= saved['meta']['iter'] - saved['meta']['epoch'] * length < length


def test_a_checkpoint_of_mmengine_goes_on_at_its_epoch():
    saved = saved_at(40, 10, 4)
    del saved['meta']['layout']
    assert fit(dict(saved), stand_in(10, 8), 'a.pth') == []
    assert 'saved by another program' in fit(saved, stand_in(20, 2), 'a.pth')[0]
    assert saved['meta']['iter'] == 80


def test_folders_of_earlier_trainings_are_never_reused(folder):
    (folder / 'earlier.1').mkdir()
    (folder / 'earlier.2').write_text('')
    assert move_aside(folder, 10.0) == folder / 'earlier.3'
    assert names((folder / 'earlier.3').iterdir()) == ['epoch_10.pth']


def test_a_checkpoint_with_a_hole_is_not_whole(tmp_path):
    old, new = (checkpoint(tmp_path / f'epoch_{i}.pth', 10 * i, pad=torch.ones(10**5)) for i in (1, 2))
    content = bytearray(new.read_bytes())
    content[200_000:300_000] = bytes(100_000)
    new.write_bytes(content)
    point, notes = find_resume_point(tmp_path)
    assert point == old
    assert f'{new}: damaged, the checksum of its part' in notes[0]


@pytest.mark.parametrize('meta', [None, [], {'epoch': None}, {'layout': {'iters_per_epoch': 5}}])
def test_a_strange_meta_is_a_broken_checkpoint(tmp_path, meta):
    torch.save({'state_dict': {}, 'meta': meta}, tmp_path / 'epoch_1.pth')
    assert list(find_checkpoints(tmp_path).broken) == [tmp_path / 'epoch_1.pth']


def test_schedules_by_epoch_are_not_a_step_ahead_after_a_signal_in_the_last_step_of_an_epoch():
    def runner(length, batch_size):
        it = stand_in(length, batch_size)
        it.param_schedulers = [MultiStepLR(it.optim_wrapper, milestones=[2], by_epoch=True)]
        return it

    was = runner(10, 4)
    was.param_schedulers[0].step()  # of epoch 1; that of epoch 2 follows in after_train_epoch
    saved = {'meta': {'iter': 20, 'epoch': 1, 'layout': Layout.of(was)._asdict()}}
    saved['optimizer'] = was.optim_wrapper.state_dict()
    saved['param_schedulers'] = [was.param_schedulers[0].state_dict()]
    fit(saved, runner(20, 2), 'a.pth')
    assert saved['param_schedulers'][0]['last_step'] == 1
