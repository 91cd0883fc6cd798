import random

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmrazor_bignas.engine import FixedBatches
from mmrazor_bignas.engine import batches as batches_module
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
    return [torch.stack(batch['inputs']) for batch in batches]


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


def test_the_second_pass_gives_the_same_with_and_without_memory(monkeypatch):
    for limit in (batches_module.CACHE_BYTES, 100):
        monkeypatch.setattr(batches_module, 'CACHE_BYTES', limit)
        batches = FixedBatches(AUGMENTED, 16, num_images=48)
        assert same(pixels(batches), pixels(batches))
        assert same(pixels(batches), pixels(batches))


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
