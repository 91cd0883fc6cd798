import multiprocessing
import os
import random

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmrazor_bignas.engine import FixedBatches
from mmrazor_bignas.engine import batches as batches_module
from mmrazor_bignas.engine.batch_cache import BatchCache
from mmrazor_bignas.errors import InputError

AUGMENTED = {
    'type': 'mmrazor_bignas.Digits',
    'pipeline': [
        {'type': 'RandomResizedCrop', 'scale': 16},
        {'type': 'RandomFlip', 'prob': 0.5},
        {'type': 'PackClsInputs'},
    ],
}


UNEVEN = {'type': 'RandomChoiceResize', 'scales': [(8, 8), (8, 16), (16, 8)]}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmcls')


def pixels(batches) -> list[torch.Tensor]:
    return [torch.stack(list(batch['inputs'])) for batch in batches]


def same(a, b) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_all_images_in_their_order():
    batches = FixedBatches(AUGMENTED, batch_size=100)
    labels = [int(sample.gt_label.label) for batch in batches for sample in batch['data_samples']]
    assert labels == list(batches.dataset.get_gt_labels())
    assert len(batches) == 18
    assert batches.num_images == 1797


def test_always_the_same_whatever_was_drawn_before_and_by_any_number_of_workers():
    first = pixels(FixedBatches(AUGMENTED, 16, num_images=48, seed=1))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert same(pixels(FixedBatches(AUGMENTED, 16, num_images=48, seed=1)), first)
    assert same(pixels(FixedBatches(AUGMENTED, 16, num_images=48, seed=1, num_workers=2)), first)
    assert not same(pixels(FixedBatches(AUGMENTED, 16, num_images=48, seed=2)), first)


def test_the_callers_random_state_is_left_alone():
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    pixels(FixedBatches(AUGMENTED, 16, num_images=16))
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


class Counted(Dataset):
    """Counts how often an image is decoded, by any worker."""

    metainfo = {}

    def __init__(self, dataset, counter):
        self.dataset, self.counter = dataset, counter

    def __getitem__(self, index):
        with self.counter.get_lock():
            self.counter.value += 1
        return self.dataset[index]

    def __len__(self):
        return len(self.dataset)


@pytest.fixture
def decoded(monkeypatch):
    """Counts decoded images."""
    counter = multiprocessing.get_context('fork').Value('i', 0)
    build = batches_module.build_dataset
    monkeypatch.setattr(batches_module, 'build_dataset', lambda cfg: Counted(build(cfg), counter))
    return counter


@pytest.mark.parametrize('collate_fn', ['pseudo_collate', 'default_collate'])
@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('cache_bytes', [2**30, 20_000, 0])  # all in memory, a part, nothing
def test_every_image_is_decoded_once(decoded, tmp_path, collate_fn, num_workers, cache_bytes):
    options = {'num_workers': num_workers, 'collate_fn': {'type': collate_fn}}
    kept = FixedBatches(AUGMENTED, 16, num_images=56, cache_bytes=cache_bytes, cache_dir=str(tmp_path), **options)
    expected = [list(batch['inputs']) for batch in FixedBatches(AUGMENTED, 16, num_images=56, cache=False, **options)]
    before = decoded.value
    for _ in range(3):
        found = [list(batch['inputs']) for batch in kept]
        assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    assert decoded.value - before == 56
    assert not list(tmp_path.iterdir())  # the file has no name
    whole = 56 * 3 * 16 * 16
    assert kept._kept.used + kept._kept.spilled == whole
    assert kept._kept.used <= cache_bytes
    assert [len(batch['data_samples']) for batch in kept] == [16, 16, 16, 8]


def test_kept_batches_hold_no_file_descriptors(tmp_path):
    """Where they came from workers; a process has few of them."""
    before = len(os.listdir('/proc/self/fd'))
    batches = FixedBatches(AUGMENTED, 4, num_images=320, num_workers=2, cache_bytes=2**17, cache_dir=str(tmp_path))
    for _ in range(2):
        assert sum(1 for _ in batches) == 80
    assert 0 < batches._kept.used < 320 * 3 * 16 * 16
    assert len(os.listdir('/proc/self/fd')) < before + 20  # of 40 and more batches in the file


def test_images_of_any_size_and_type_are_kept(tmp_path):
    cache = BatchCache(0, str(tmp_path))
    batch = {
        'inputs': [torch.rand(3, 5), torch.arange(7, dtype=torch.uint8), torch.ones(2, 2, dtype=torch.int64)],
        'x': 1,
    }
    cache.add(batch)
    (kept,) = cache
    assert kept['x'] == 1
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(kept['inputs'], batch['inputs'], strict=True))


def test_where_the_disk_is_full_images_are_decoded_anew(decoded, small_disk, monkeypatch):
    said = []
    monkeypatch.setattr(batches_module, 'print_log', lambda message, **_: said.append(message))
    large = {**AUGMENTED, 'pipeline': [{'type': 'Resize', 'scale': (96, 96)}, {'type': 'PackClsInputs'}]}
    batches = FixedBatches(large, 20, num_images=60, cache_bytes=0, cache_dir=str(small_disk))
    first = [list(batch['inputs']) for batch in batches]
    second = [list(batch['inputs']) for batch in batches]
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert decoded.value == 120
    (message,) = said
    assert f'images cannot be kept in {small_disk}: No space left on device; all are decoded anew' in message


@pytest.mark.parametrize('num_workers', [0, 2])
def test_stacked_batches_hold_the_same_images(num_workers):
    stack = {'collate_fn': {'type': 'default_collate'}, 'num_workers': num_workers}
    stacked = list(FixedBatches(AUGMENTED, 16, num_images=40, seed=1, **stack))
    assert [tuple(batch['inputs'].shape) for batch in stacked] == [(16, 3, 16, 16), (16, 3, 16, 16), (8, 3, 16, 16)]
    assert same([batch['inputs'] for batch in stacked], pixels(FixedBatches(AUGMENTED, 16, num_images=40, seed=1)))
    assert [len(batch['data_samples']) for batch in stacked] == [16, 16, 8]


@pytest.mark.parametrize('num_images', [None, 50])
def test_ranks_share_the_batches(num_images):
    whole = pixels(FixedBatches(AUGMENTED, 16, num_images=num_images))
    shares = [FixedBatches(AUGMENTED, 16, num_images=num_images, rank=rank, world_size=3) for rank in range(3)]
    assert sum(map(len, shares)) == len(whole)
    for rank, share in enumerate(shares):
        assert same(pixels(share), whole[rank::3])


def test_distinct_images_exactly_as_many_as_asked_for():
    batches = FixedBatches(AUGMENTED, 16, num_images=100)
    assert sum(len(batch['inputs']) for batch in batches) == batches.num_images == 100
    indices = [index for batch in batches._batches for index in batch]
    assert len(set(indices)) == 100


def test_fewer_images_than_asked_for_are_all():
    assert FixedBatches(AUGMENTED, 64, num_images=10_000).num_images == 1797


def test_no_batch_of_one_image():
    assert [len(batch['inputs']) for batch in FixedBatches(AUGMENTED, 16, num_images=33)] == [16, 17]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'shuffle': True}, r"\['shuffle'\] cannot be set"),
        ({'sampler': {'type': 'DefaultSampler'}}, r"\['sampler'\] cannot be set"),
        ({'batch_size': 0}, 'batch_size is 0'),
        ({'cache_bytes': '4GB'}, "cache_bytes is '4GB'; expected an integer"),
        ({'collate_fn': {'type': 'stack'}}, "collate_fn is {'type': 'stack'}; expected .*default_collate"),
        ({'collate_fn': 'default_collate'}, "collate_fn is 'default_collate'; expected"),
        ({'collate_fn': None}, 'collate_fn is None; expected'),
        ({'collate_fn': {'type': 'default_collate', 'x': 1}}, "collate_fn is .*'x': 1"),
        ({'num_images': 1}, 'calibrate_sample_num is 1; expected 2'),
        ({'num_images': 0}, 'calibrate_sample_num is 0; expected 2'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        FixedBatches(**{'dataset': AUGMENTED, 'batch_size': 16, **options})


@pytest.mark.parametrize(
    ('dataset', 'message'),
    [
        ({'type': 'ImageNet', 'data_root': 'nowhere', 'ann_file': 'meta/train.txt'}, 'ImageNet .*nowhere'),
        ({'type': 'CustomDataset', 'data_prefix': 'nowhere'}, 'CustomDataset .*nowhere'),
        ({'type': 'mmrazor_bignas.Digits', 'indices': 0}, 'Digits: is empty'),
    ],
)
def test_a_data_set_that_cannot_be_read_is_named(dataset, message):
    with pytest.raises(InputError, match=message):
        FixedBatches(dataset, batch_size=16)


def test_images_of_different_sizes_are_not_stacked():
    uneven = {'type': 'mmrazor_bignas.Digits', 'pipeline': [UNEVEN, {'type': 'PackClsInputs'}]}
    batches = FixedBatches(uneven, 16, num_images=16, collate_fn={'type': 'default_collate'})
    with pytest.raises(InputError, match=r'sizes \[.*\(3, 8, .*cannot be stacked; resize or crop them'):
        list(batches)
