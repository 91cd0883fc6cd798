from itertools import chain

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope

from mmrazor_bignas.datasets import StratifiedSplit, split_indices
from mmrazor_bignas.errors import InputError

PARTS = {'search': 0.2, 'test': 0.1}
DIGITS = {'type': 'mmrazor_bignas.Digits'}


@pytest.fixture
def labels():
    return np.random.RandomState(0).randint(0, 5, 500)


def test_parts_are_disjoint_and_complete(labels):
    indices = split_indices(labels, PARTS, seed=0)
    assert set(indices) == {'search', 'test', 'train'}
    assert sorted(chain.from_iterable(indices.values())) == list(range(500))


def test_every_class_has_its_share(labels):
    for part, fraction in {**PARTS, 'train': 0.7}.items():
        chosen = labels[split_indices(labels, PARTS, seed=0)[part]]
        for label in range(5):
            total = (labels == label).sum()
            assert abs((chosen == label).sum() - fraction * total) <= 1


def test_the_seed_decides(labels):
    assert split_indices(labels, PARTS, seed=0) == split_indices(labels, PARTS, seed=0)
    assert split_indices(labels, PARTS, seed=0) != split_indices(labels, PARTS, seed=1)


def test_a_small_class_gives_one_image_to_each_part():
    indices = split_indices(np.zeros(3, int), {'search': 0.01, 'test': 0.01}, seed=0)
    assert [len(indices[part]) for part in ('search', 'test', 'train')] == [1, 1, 1]


def test_parts_of_a_data_set():
    init_default_scope('mmcls')
    sets = {part: StratifiedSplit(DIGITS, part, PARTS) for part in ('train', *PARTS)}
    assert sum(map(len, sets.values())) == 1797
    assert sets['search'].metainfo['classes'] == tuple('0123456789')
    assert sets['train'][0]['img'].shape == (8, 8, 3)


def test_parts_do_not_go_through_the_memo_that_mixes_up_data_sets():
    """mmengine's get_subset copies with a memo that outlives the call, and takes later objects for earlier."""
    init_default_scope('mmcls')
    (memo,) = BaseDataset._copy_without_annotation.__defaults__
    before = len(memo)
    StratifiedSplit(DIGITS, 'search', PARTS)
    assert len(memo) == before


@pytest.mark.parametrize(
    ('part', 'parts', 'message'),
    [
        ('val', PARTS, "part is 'val'; expected 'train' or one of"),
        ('train', {'train': 0.5}, 'expected'),
        ('search', {'search': 0}, 'fractions above 0'),
        ('search', {'search': 0.6, 'test': 0.4}, 'sum is below 1'),
    ],
)
def test_bad_parts(part, parts, message):
    with pytest.raises(InputError, match=message):
        StratifiedSplit(DIGITS, part, parts)


def test_a_class_too_small_to_be_divided_is_named():
    with pytest.raises(InputError, match='class 3 has 2 images, too few'):
        split_indices(np.array([0] * 9 + [3] * 2), PARTS, seed=0)
