"""Losses reach the log in their order, and are fetched no more often than it asks; what diverged is named."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub

from mmrazor_bignas.engine import LossHook, hooks
from mmrazor_bignas.engine.runner import NASRunner
from mmrazor_bignas.errors import TrainingDiverged
from mmrazor_bignas.search_space import SubnetSpec

INTERVAL, BATCHES = 3, 8


@pytest.fixture
def training(monkeypatch, tiny_algorithm, tmp_path):
    """A runner on a device that works on while nobody asks, its hook, and the number of values fetched each time."""
    hook, fetched = LossHook(), []
    runner = SimpleNamespace(
        iter=0,
        epoch=0,
        max_epochs=1,
        max_iters=BATCHES,
        hooks=[hook, LoggerHook(interval=INTERVAL)],
        model=tiny_algorithm,
        work_dir=str(tmp_path),
        seed=7,
        optim_wrapper=SimpleNamespace(grad_norm=None, skips_overflows=False),
    )
    runner.train_dataloader = type('Loader', (), {'dataset': None, '__len__': lambda self: BATCHES})()
    runner.message_hub = MessageHub('losses')
    monkeypatch.setattr(hooks, 'waiting_costs', lambda losses: True)
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda self: fetched.append(self.numel()) or tolist(self))
    hook.before_train(runner)
    return runner, hook, fetched


def step(runner, hook, value: float, **more: float) -> None:
    outputs = {'loss': torch.tensor(value), 'largest/loss': torch.tensor(-value)}
    outputs |= {name.replace('_', '/'): torch.tensor(number) for name, number in more.items()}
    subnets = runner.model.sampler(runner.model.search_space, runner.iter, score=None)
    hook.after_train_iter(runner, runner.iter, None, {**outputs, 'subnets': subnets})
    runner.iter += 1


def test_losses_are_fetched_once_per_interval_and_at_the_end_of_an_epoch(training):
    runner, hook, fetched = training
    for i in range(BATCHES):
        step(runner, hook, float(i))
    assert fetched == [2 * INTERVAL, 2 * INTERVAL, 2 * (BATCHES % INTERVAL)]
    values, counts = runner.message_hub.get_scalar('train/loss').data
    assert values.tolist() == list(map(float, range(BATCHES)))
    assert set(counts.tolist()) == {1}
    assert runner.message_hub.get_scalar('train/largest/loss').current() == 1.0 - BATCHES


def test_a_checkpoint_has_every_loss_of_its_past(training, monkeypatch):
    runner, hook, _ = training
    saved = []
    parent = NASRunner.__mro__[1]
    monkeypatch.setattr(
        parent, 'save_checkpoint', lambda self, name: saved.append(self.message_hub.get_scalar('train/loss').current())
    )
    step(runner, hook, 5.0)
    NASRunner.save_checkpoint(_as(NASRunner, runner), 'name')
    assert saved == [5.0]


def test_the_first_loss_that_is_no_number_is_named_and_nothing_is_saved(training, monkeypatch):
    runner, hook, _ = training
    saved = []
    monkeypatch.setattr(NASRunner.__mro__[1], 'save_checkpoint', lambda self, name: saved.append(name))
    for value in (1.0, float('nan'), 2.0):
        if runner.iter == 2:  # before the log asks
            with pytest.raises(TrainingDiverged, match=r'iteration 2: .*largest/loss'):
                NASRunner.save_checkpoint(_as(NASRunner, runner), 'name')
        else:
            step(runner, hook, value)
    assert not saved


def named(path) -> tuple[str, SubnetSpec]:
    """The first line of a YAML file, and the subnet in it."""
    return path.read_text().splitlines()[0], SubnetSpec.from_yaml(path)


def test_the_first_pass_that_failed_is_named_and_kept(training, tmp_path):
    runner, hook, _ = training
    step(runner, hook, 1.0)
    subnet = runner.model.sampler(runner.model.search_space, 1, score=None)['random2']
    flops = runner.model.architecture.cost(subnet).flops / 1e6
    step(runner, hook, 1.0, random1_loss=2.0, random2_loss=float('inf'), smallest_loss=float('nan'))
    with pytest.raises(TrainingDiverged) as error:
        hook.fetch(runner)
    what = 'random2/loss is inf, smallest/loss is nan'
    expected = f'iteration 2: {what}; random2 was {subnet.to_dict()}, {flops:.1f} M FLOPs'
    assert expected in str(error.value)
    assert named(tmp_path / 'diverged_random2.yaml') == (f'# random2 at iteration 2, seed 7: {what}', subnet)
    assert [path.name for path in tmp_path.iterdir()] == ['diverged_random2.yaml']


def test_where_every_pass_is_stepped_with_the_one_before_is_named_too(training, tmp_path):
    runner, hook, _ = training
    runner.model.step_each_subnet = True
    step(runner, hook, 1.0, random1_loss=2.0, random2_loss=float('nan'), smallest_loss=float('nan'))
    with pytest.raises(TrainingDiverged, match=r'smallest/loss is nan; random1 was .*; random2 was [^;]*$'):
        hook.fetch(runner)
    assert {path.name for path in tmp_path.iterdir()} == {'diverged_random1.yaml', 'diverged_random2.yaml'}


def test_a_norm_that_is_no_number_names_every_subnet_of_the_step(training, tmp_path):
    runner, hook, _ = training
    runner.optim_wrapper.grad_norm = torch.tensor(float('nan'))
    step(runner, hook, 1.0)
    with pytest.raises(TrainingDiverged, match=r'iteration 1: grad_norm is nan; largest was .*; smallest was'):
        hook.fetch(runner)
    for name, subnet in runner.model.sampler(runner.model.search_space, 0, score=None).items():
        assert named(tmp_path / f'diverged_{name}.yaml')[1] == subnet


def test_overflows_that_are_skipped_are_not_logged_and_stop_nothing(training):
    runner, hook, _ = training
    runner.optim_wrapper.skips_overflows = True
    for norm in (2.0, float('inf'), None, 3.0):  # None: gradients are accumulated
        runner.optim_wrapper.grad_norm = None if norm is None else torch.tensor(norm)
        step(runner, hook, 1.0)
    hook.fetch(runner)
    assert runner.message_hub.get_scalar('train/grad_norm').data[0].tolist() == [2.0, 3.0]
    assert runner.message_hub.get_scalar('train/loss').data[0].tolist() == [1.0] * 4
    step(runner, hook, float('nan'))
    with pytest.raises(TrainingDiverged):
        hook.fetch(runner)


def test_a_training_whose_every_step_overflows_ends(training):
    runner, hook, _ = training
    runner.optim_wrapper.skips_overflows = True
    runner.optim_wrapper.grad_norm = torch.tensor(float('nan'))
    for _ in range(hooks.MOST_OVERFLOWS):
        step(runner, hook, 1.0)
    hook.fetch(runner)
    step(runner, hook, 1.0)
    with pytest.raises(TrainingDiverged, match='grad_norm is nan'):
        hook.fetch(runner)


def _as(cls: type, runner: SimpleNamespace):
    """The namespace, as an instance of a Runner that was never set up."""
    one = cls.__new__(cls)
    one._hooks, one.message_hub, one.model = runner.hooks, runner.message_hub, runner.model
    one._work_dir, one._randomness_cfg, one._seed = runner.work_dir, {}, runner.seed
    return one
