"""Training batches: a function of (seed, epoch, position)."""

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope

from mmrazor_bignas.engine.train_batches import EpochBatchSampler, build_train_loader
from mmrazor_bignas.errors import InputError


def sampler(length: int = 23, **options) -> EpochBatchSampler:
    return EpochBatchSampler(DefaultSampler(range(length), shuffle=True, seed=3), batch_size=4, **options)


@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('position', range(6))
def test_the_rest_of_an_epoch_is_the_tail_of_the_whole(position, drop_last):
    whole, rest = sampler(drop_last=drop_last), sampler(drop_last=drop_last)
    whole.begin(5, 0)
    rest.begin(5, position)
    assert list(rest) == list(whole)[position:]
    assert len(list(whole)) == len(whole) == len(rest) == (5 if drop_last else 6)


def test_every_epoch_has_its_own_order_and_all_images():
    orders = []
    for epoch in range(3):
        batches = sampler()
        batches.begin(epoch, 0)
        keys = [key for batch in batches for key in batch]
        assert {number for number, _ in keys} == {epoch}
        orders.append([index for _, index in keys])
        assert sorted(orders[-1]) == list(range(23))
    assert len(set(map(tuple, orders))) == 3


def test_an_epoch_has_a_multiple_of_batches():
    batches = sampler(multiple=4)
    assert len(list(batches)) == len(batches) == 4


@pytest.fixture
def loader_of():
    init_default_scope('mmcls')
    flips = [{'type': 'RandomFlip', 'prob': 0.5}, {'type': 'RandomCrop', 'crop_size': 6}, {'type': 'PackClsInputs'}]
    split = {'type': 'mmrazor_bignas.StratifiedSplit', 'parts': {'rest': 0.98}, 'seed': 0, 'part': 'train'}
    dataset = {**split, 'dataset': {'type': 'mmrazor_bignas.Digits', 'pipeline': flips}}
    basic = {'batch_size': 8, 'num_workers': 0, 'sampler': {'type': 'DefaultSampler', 'shuffle': True}}
    return lambda seed=0, accumulate=1, **more: build_train_loader(
        {**basic, 'dataset': dataset, **more}, seed, accumulate
    )


def images(loader, epoch: int, position: int = 0) -> list[torch.Tensor]:
    loader.batch_sampler.begin(epoch, position)
    return [batch['inputs'] for batch in loader]


def same(ours, theirs) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def test_images_depend_on_seed_epoch_and_position_alone(loader_of):
    whole = images(loader_of(), 2)
    torch.rand(3)  # what was drawn before is no matter
    assert same(images(loader_of(num_workers=2), 2, 1), whole[1:])
    assert not same(images(loader_of(), 3), whole)
    assert not same(images(loader_of(seed=1), 2), whole)


def test_workers_that_live_on_are_told_of_the_next_epoch(loader_of):
    living = loader_of(num_workers=1, persistent_workers=True)
    for epoch, position in ((0, 0), (1, 0), (1, 2)):
        assert same(images(living, epoch, position), images(loader_of(), epoch, position))


def test_the_same_image_is_augmented_anew_in_each_epoch(loader_of):
    dataset = loader_of().dataset
    crops = [dataset[epoch, 0]['inputs'] for epoch in range(8)]
    assert torch.equal(dataset[3, 0]['inputs'], crops[3])
    assert len({crop.numpy().tobytes() for crop in crops}) > 1


def test_batches_of_half_a_step_are_left_out(loader_of):
    assert len(loader_of(batch_size=4)) % 4
    assert len(loader_of(batch_size=4, accumulate=4)) % 4 == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'batch_size': 1000, 'drop_last': True}, 'batch_size is 1000, .* drop_last leaves no batch'),
        ({'batch_size': 30, 'accumulate': 8}, '8 batches make a step'),
        ({'batch_sampler': {'type': 'x'}}, r"\['batch_sampler'\] cannot be set here"),
        ({'worker_init_fn': {'type': 'x'}}, r"\['worker_init_fn'\] cannot be set here"),
    ],
)
def test_what_cannot_be_is_said(loader_of, options, message):
    with pytest.raises(InputError, match=message):
        loader_of(**options)


@pytest.mark.parametrize('change', [{'shuffle': True}, {'batch_size': 0}, {'batch_size': None}, {'sampler': None}])
def test_a_bad_data_loader_is_said_in_words(change):
    init_default_scope('mmcls')
    cfg = {'batch_size': 8, 'num_workers': 0, 'sampler': {'type': 'DefaultSampler', 'shuffle': True}}
    cfg['dataset'] = {'type': 'mmrazor_bignas.Digits', 'pipeline': [{'type': 'PackClsInputs'}]}
    cfg = {key: value for key, value in {**cfg, **change}.items() if value is not None}
    with pytest.raises(InputError):
        build_train_loader(cfg, 0)
