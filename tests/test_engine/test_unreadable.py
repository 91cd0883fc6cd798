"""Image files that cannot be read: one line, or going on without them."""

import errno
import os

import numpy as np
import pytest
import torch
from image_folders import BROKEN, LOAD, config_of, encoded, make_folders, picture, truncate
from killed_runs import train_here
from mmcls.evaluation import Accuracy
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.registry import TRANSFORMS, init_default_scope
from PIL import Image

from mmrazor_bignas.engine import FixedBatches, measure, unreadable
from mmrazor_bignas.engine import batches as batches_module
from mmrazor_bignas.engine.batches import SeededDataset, take_unreadable
from mmrazor_bignas.engine.datasets import build_dataset
from mmrazor_bignas.engine.main import message_of
from mmrazor_bignas.engine.train_batches import build_train_loader
from mmrazor_bignas.engine.unreadable import SHOWN, Unreadable, load_image
from mmrazor_bignas.errors import InputError


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmcls')


@pytest.fixture
def paths(tmp_path):
    """Ten images of two classes."""
    return make_folders(tmp_path / 'images', {'a': 5, 'b': 5})


@pytest.fixture
def cfg(tmp_path) -> dict:
    return {'type': 'mmrazor_bignas.ClassFolders', 'data_prefix': str(tmp_path / 'images'), 'pipeline': LOAD}


@pytest.mark.parametrize('kind', BROKEN)
def test_the_file_is_named_and_what_is_wrong_with_it(paths, cfg, kind):
    dataset = SeededDataset(build_dataset(cfg), 0)
    spoil, reason = BROKEN[kind]
    spoil(paths[3])
    with pytest.raises(InputError) as error:
        dataset[3]
    assert str(error.value) == f'{paths[3]}: {reason}'


@pytest.mark.skipif(os.getuid() == 0, reason='root may read everything')
def test_a_file_without_permission(paths, cfg):
    paths[0].chmod(0)
    with pytest.raises(InputError, match='Permission denied'):
        SeededDataset(build_dataset(cfg), 0)[0]


def test_a_worker_says_the_same_line(paths, cfg):
    truncate(paths[2])
    with pytest.raises(InputError) as error:
        list(FixedBatches(cfg, 4, num_workers=1))
    assert message_of(error.value) == f'{paths[2]}: cannot be decoded as an image: no image, or cut off'


@pytest.mark.parametrize('kind', ['RepeatDataset', 'ConcatDataset', 'mmrazor_bignas.StratifiedSplit'])
def test_a_file_inside_of_wrappers_is_named(paths, cfg, kind):
    wrapped = {
        'RepeatDataset': {'dataset': cfg, 'times': 2},
        'ConcatDataset': {'datasets': [cfg, cfg]},
        'mmrazor_bignas.StratifiedSplit': {'dataset': cfg, 'part': 'train', 'parts': {'rest': 0.2}},
    }[kind]
    dataset = SeededDataset(build_dataset({'type': kind, **wrapped}), 0)
    for path in paths:
        truncate(path)
    with pytest.raises(InputError, match=r'images/b/0\d\.jpeg: cannot be decoded'):
        dataset[len(dataset) - 1]


@TRANSFORMS.register_module(force=True)
class Fails:
    """A step that fails of itself."""

    def __init__(self, number=None):
        self.error = ZeroDivisionError('of a step') if number is None else OSError(number, os.strerror(number))

    def __call__(self, results):
        raise self.error


def test_a_fault_of_a_later_step_stays_what_it_is(paths, cfg):
    dataset = SeededDataset(build_dataset({**cfg, 'pipeline': [LOAD[0], {'type': 'Fails'}]}), 0, 'replace')
    with pytest.raises(ZeroDivisionError, match='of a step'):
        dataset[0]


@pytest.mark.parametrize('number', [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_fault_of_the_system_is_no_images(paths, cfg, number):
    dataset = SeededDataset(build_dataset({**cfg, 'pipeline': [{'type': 'Fails', 'number': number}]}), 0, 'replace')
    with pytest.raises(InputError, match=f'^{paths[0]}: {os.strerror(number)}$'):
        dataset[0]


@pytest.mark.parametrize('mode', ['P', 'L', '1', 'RGBA', 'LA', 'CMYK', 'I;16'])
def test_other_kinds_of_pixels_are_loaded_as_colours(tmp_path, paths, cfg, mode):
    plain = picture(1)
    if mode == 'I;16':
        plain = plain.convert('L')
        other = Image.fromarray(np.asarray(plain).astype(np.uint16) * 257)
    else:
        other = plain.convert(mode)
    paths[0].write_bytes(encoded(other, 'JPEG' if mode == 'CMYK' else 'PNG'))
    loaded = load_image(build_dataset(cfg), 0)
    expected = np.asarray((plain if mode == 'I;16' else other).convert('RGB'))[..., ::-1]
    assert loaded.dtype == np.uint8
    assert np.abs(loaded.astype(int) - expected).mean() < 3


# Going on


def loader(cfg, **more):
    sampler = {'type': 'DefaultSampler', 'shuffle': True}
    return build_train_loader(
        {'batch_size': 4, 'num_workers': 0, 'sampler': sampler, 'dataset': cfg, 'skip_unreadable': True, **more}, seed=0
    )


def epoch_of(batches, epoch: int, position: int = 0) -> tuple[list[torch.Tensor], list[set]]:
    """Images, and what was said to be unreadable, by batch."""
    batches.batch_sampler.begin(epoch, position)
    found = [(set(take_unreadable(batch)), batch['inputs']) for batch in batches]
    return [images for _, images in found], [paths for paths, _ in found]


def test_in_training_others_are_drawn_by_place_alone(paths, cfg):
    for path in (paths[1], paths[7]):
        truncate(path)
    images, said = epoch_of(loader(cfg), epoch=2)
    assert [len(batch) for batch in images] == [4, 4, 2]
    assert set().union(*said) == {str(paths[1]), str(paths[7])}
    for workers, position in ((0, 0), (2, 0), (0, 1)):
        again, again_said = epoch_of(loader(cfg, num_workers=workers), 2, position)
        assert all(map(torch.equal, again, images[position:]))
        assert again_said == said[position:]
    assert not all(map(torch.equal, epoch_of(loader(cfg), epoch=3)[0], images))


def test_readable_images_are_those_of_a_training_without_the_option(paths, cfg):
    with_option = epoch_of(loader(cfg), 1)[0]
    assert all(map(torch.equal, with_option, epoch_of(loader(cfg, skip_unreadable=False), 1)[0]))


def test_it_is_off_unless_asked_for(paths, cfg):
    truncate(paths[0])
    with pytest.raises(InputError, match=r'00.jpeg: cannot be decoded'):
        epoch_of(loader(cfg, skip_unreadable=False), 0)
    with pytest.raises(InputError, match=r'00.jpeg: cannot be decoded'):
        list(FixedBatches(cfg, 4))


def test_a_data_set_that_is_gone_ends_the_training(paths, cfg):
    batches = loader(cfg)
    for path in paths:
        path.unlink()
    with pytest.raises(InputError, match=r'20 images in a row cannot be read, the last is .*: no such file'):
        epoch_of(batches, 0)


@pytest.mark.parametrize('workers', [0, 1])
def test_an_evaluation_leaves_them_out_and_counts_them(paths, cfg, workers, monkeypatch):
    for path in paths[3:8]:
        truncate(path)
    lines = []
    monkeypatch.setattr(batches_module, 'print_log', lambda text, **_: lines.append(text))
    batches = FixedBatches(cfg, 4, skip_unreadable=True, num_workers=workers)
    for _ in range(2):  # the second pass is out of the cache
        labels = [[int(sample.gt_label.label) for sample in batch['data_samples']] for batch in batches]
        assert labels == [[0, 0, 0], [1, 1]]  # of batches of 4, 4 and 2, one is gone
        assert batches.count_unreadable() == 5
    assert len(lines) == 1
    assert lines[0].startswith('evaluation: 5 images of 10 cannot be read, the result leaves them out\n')
    assert all(f'{path}: cannot be decoded' in lines[0] for path in paths[3:8])


def test_a_calibration_keeps_its_batches(paths, cfg):
    truncate(paths[4])
    batches = FixedBatches(cfg, 4, num_images=8, seed=1, skip_unreadable=True)
    first, again = ([batch['inputs'] for batch in batches] for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4]
    assert all(map(torch.equal, first, again))


def test_the_result_says_how_many_it_leaves_out(paths, cfg, tiny_algorithm, monkeypatch):
    truncate(paths[0])
    cfg = {**cfg, 'pipeline': [LOAD[0], {'type': 'Resize', 'scale': (16, 16)}, LOAD[1]]}
    static = tiny_algorithm.architecture.eval()
    found = measure(static, FixedBatches(cfg, 4, skip_unreadable=True), Evaluator([Accuracy()]))
    assert found['unreadable'] == 1
    paths[0].unlink()
    batches = FixedBatches({**cfg, 'type': 'CustomDataset'}, 4)
    assert 'unreadable' not in measure(static, batches, Evaluator([Accuracy()]))
    for path in paths[1:]:
        truncate(path)
    with pytest.raises(InputError, match=r'none of 9 images can be read, the first is .*a/01.jpeg'):
        measure(static, FixedBatches(cfg, 4, skip_unreadable=True), Evaluator([Accuracy()]))


def test_what_other_ranks_found_counts_once(monkeypatch):
    mine, theirs = ({path: Unreadable(path, 'is empty') for path in names} for names in ('ab', 'bc'))
    monkeypatch.setattr(unreadable, 'all_gather_object', lambda one: [theirs, one])
    assert list(unreadable.gather_unreadable(mine, several_ranks=True)) == ['a', 'b', 'c']
    assert sorted(unreadable.gather_unreadable(mine, several_ranks=False)) == ['a', 'b']


def test_a_training_says_at_the_end_of_an_epoch_what_it_could_not_read(tmp_path):
    paths = make_folders(tmp_path / 'data/train', {'a': 8, 'b': 8})
    make_folders(tmp_path / 'data/val', {'a': 2, 'b': 2}, 50)
    for path in paths[: SHOWN + 1]:
        truncate(path)
    options = {'train_cfg.max_epochs': 2, 'train_dataloader.skip_unreadable': True}
    config = config_of(tmp_path / 'data')

    class Mends(Hook):
        def after_train_epoch(self, runner):
            paths[0].write_bytes(encoded(picture(0)))

    runner = train_here(config, tmp_path / 'out', [Mends()], validate=False, **options)
    (log,) = (tmp_path / 'out').rglob('*.log')
    said = 'images could not be read, others were drawn in their place'
    assert log.read_text().count(f'epoch 1: 11 {said}; all are in ') == 1
    assert log.read_text().count(f'epoch 2: 10 {said}\n') == 1
    listed = (tmp_path / 'out/unreadable_images.txt').read_text().splitlines()
    assert [line.partition(': ')[0] for line in listed] == list(map(str, paths[: SHOWN + 1]))
    assert 'and 1 more' in log.read_text()
    assert runner.iter == 8


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'skip_unreadable': 'yes'}, "skip_unreadable is 'yes'; expected True or False"),
        ({'pipeline': [{**LOAD[0], 'ignore_empty': True}]}, 'ignore_empty draws other images and does not say so'),
    ],
)
def test_what_cannot_be_is_said(paths, cfg, change, message):
    dataset = {key: change.get(key, value) for key, value in cfg.items()}
    options = {key: value for key, value in change.items() if key not in cfg}
    for build in (loader, lambda cfg, **options: FixedBatches(cfg, 4, **options)):
        with pytest.raises(InputError, match=message):
            build(dataset, **options)
