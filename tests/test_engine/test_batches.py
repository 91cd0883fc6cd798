import multiprocessing
import os
import random
from types import SimpleNamespace
from weakref import WeakSet

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmrazor_bignas.engine import FixedBatches, batch_cache
from mmrazor_bignas.engine import batches as batches_module
from mmrazor_bignas.engine.batch_cache import GPU_RESERVE, GPU_SHARE, BatchCache, footprint
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
    kept = FixedBatches(
        AUGMENTED, 16, num_images=56, cache_bytes=cache_bytes, cache_dir=str(tmp_path), device='cpu', **options
    )
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
    options = {'num_workers': 2, 'cache_bytes': 2**17, 'cache_dir': str(tmp_path), 'device': 'cpu'}
    batches = FixedBatches(AUGMENTED, 4, num_images=320, **options)
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


BATCH_BYTES = 16 * 3 * 16 * 16


@pytest.fixture
def gpu(monkeypatch):
    """'meta' as a GPU that has room for as many batches of 16 images as ``share`` says, of which ``free`` are free."""
    memory = SimpleNamespace(share=0, free=1000)

    def bytes_of(device):
        total = memory.share * BATCH_BYTES / GPU_SHARE
        return (memory.free * BATCH_BYTES + GPU_RESERVE * total, total) if device.type == 'meta' else (0, 0)

    monkeypatch.setattr(batch_cache, 'gpu_memory', bytes_of)
    monkeypatch.setattr(batch_cache, 'to_gpu', lambda images, device: [image.clone() for image in images])
    monkeypatch.setattr(batch_cache, '_caches', WeakSet())  # other tests' may be alive
    return memory


@pytest.fixture
def said(monkeypatch):
    """What the cache logs."""
    said = []
    monkeypatch.setattr(batch_cache, 'print_log', lambda message, **_: said.append(message))
    return said


def places(batches) -> tuple[int, ...]:
    """Batches on the GPU, in memory and in the file."""
    cache = batches._kept
    return tuple(size // BATCH_BYTES for size in (cache.on_gpu, cache.used, cache.spilled))


@pytest.mark.parametrize('collate_fn', ['pseudo_collate', 'default_collate'])
@pytest.mark.parametrize('num_workers', [0, 2])
def test_batches_stay_on_the_gpu_then_in_memory_then_in_the_file(decoded, gpu, collate_fn, num_workers):
    gpu.share = 2
    options = {'num_workers': num_workers, 'collate_fn': {'type': collate_fn}}
    kept = FixedBatches(AUGMENTED, 16, num_images=80, cache_bytes=2 * BATCH_BYTES, device='meta', **options)
    expected = pixels(FixedBatches(AUGMENTED, 16, num_images=80, cache=False, **options))
    before = decoded.value
    for _ in range(3):
        assert same(pixels(kept), expected)
    assert decoded.value - before == 80
    assert places(kept) == (2, 2, 1)


def test_all_caches_share_the_gpu(gpu):
    gpu.share = 3
    first, second, third = (FixedBatches(AUGMENTED, 16, num_images=32, device='meta') for _ in range(3))
    assert [len(list(batches)) for batches in (first, second)] == [2, 2]
    assert (places(first), places(second)) == ((2, 0, 0), (1, 1, 0))
    first._kept = None  # what it took is free again
    list(third)
    assert places(third) == (2, 0, 0)


def test_memory_that_others_took_is_left_alone(gpu):
    gpu.share, gpu.free = 10, 0.5
    batches = FixedBatches(AUGMENTED, 16, num_images=32, device='meta')
    list(batches)
    assert places(batches) == (0, 2, 0)


def test_a_full_gpu_is_said_once_and_the_rest_stays_in_memory(gpu, said, monkeypatch):
    copies = []

    def to_gpu(images, device):
        copies.append(images)
        if len(copies) > 1:
            raise torch.OutOfMemoryError('CUDA out of memory')
        return images

    gpu.share = 10
    monkeypatch.setattr(batch_cache, 'to_gpu', to_gpu)
    batches = FixedBatches(AUGMENTED, 16, num_images=64, device='meta')
    expected = pixels(FixedBatches(AUGMENTED, 16, num_images=64, cache=False))
    assert same(pixels(batches), expected)
    assert same(pixels(batches), expected)
    assert places(batches) == (1, 3, 0)
    (message,) = said
    assert f'the GPU has no memory left for images ({BATCH_BYTES:,} bytes of them are there)' in message


def test_the_first_pass_gives_what_is_kept(gpu):
    """So that the images are copied to the GPU once."""
    gpu.share = 10
    cache = BatchCache(0, device=torch.device('meta'))
    batch = {'inputs': torch.zeros(16, 3, 16, 16, dtype=torch.uint8), 'data_samples': [1]}
    given = cache.add(batch)
    (kept,) = cache
    assert given['inputs'] is kept['inputs'] is not batch['inputs']
    assert kept['data_samples'] is batch['data_samples']


def test_a_cpu_is_no_gpu():
    batches = FixedBatches(AUGMENTED, 16, num_images=32, device='cpu')
    list(batches)
    assert places(batches) == (0, 2, 0)


@pytest.mark.parametrize(('size', 'pinned', 'taken'), [(1000, False, 1000), (1000, True, 1024), (1024, True, 1024)])
def test_pinned_memory_comes_in_powers_of_two(size, pinned, taken):
    assert footprint(SimpleNamespace(nbytes=size, is_pinned=lambda: pinned)) == taken


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu():
    expected = pixels(FixedBatches(AUGMENTED, 16, num_images=64, cache=False))
    batches = FixedBatches(AUGMENTED, 16, num_images=64, num_workers=1)
    for _ in range(2):
        found = list(batches)
        assert all(batch['inputs'].is_cuda and batch['inputs'].dtype == torch.uint8 for batch in found)
        assert same([batch['inputs'].cpu() for batch in found], expected)
    assert places(batches) == (4, 0, 0)
    on_cpu = FixedBatches(AUGMENTED, 16, num_images=64, device='cpu')
    assert not any(batch['inputs'].is_cuda or batch['inputs'].is_pinned() for batch in on_cpu)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_what_has_no_room_on_a_gpu_is_pinned(monkeypatch):
    monkeypatch.setattr(batch_cache, 'GPU_SHARE', 0)
    batches = FixedBatches(AUGMENTED, 16, num_images=32)
    list(batches)
    assert all(batch['inputs'].is_pinned() for batch in batches)


def test_where_the_disk_is_full_images_are_decoded_anew(decoded, small_disk, monkeypatch):
    said = []
    monkeypatch.setattr(batches_module, 'print_log', lambda message, **_: said.append(message))
    large = {**AUGMENTED, 'pipeline': [{'type': 'Resize', 'scale': (96, 96)}, {'type': 'PackClsInputs'}]}
    batches = FixedBatches(large, 20, num_images=60, cache_bytes=0, cache_dir=str(small_disk), device='cpu')
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
