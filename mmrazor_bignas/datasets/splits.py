"""Disjoint parts of one data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmengine.dataset import BaseDataset

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import DATASETS


@DATASETS.register_module()
def StratifiedSplit(dataset: dict, part: str, parts: Mapping[str, float], seed: int = 0) -> BaseDataset:
    """One of several disjoint parts of a data set, every class in the same proportion.

    Args:
        dataset: Config of the data set to divide.
        part: The part to return: a key of ``parts``, or ``'train'`` for what they leave.
        parts: Fraction of each class per part, rounded, at least one image.
        seed: Seed of the division; every config that divides the same data set must name the same.

    Raises:
        InputError: The part is unknown, the fractions leave nothing, or a class has too few images to be divided.
    """
    if part not in (*parts, 'train') or 'train' in parts:
        raise InputError(f"split: part is {part!r}; expected 'train' or one of {sorted(parts)}")
    if any(not 0 < fraction < 1 for fraction in parts.values()) or sum(parts.values()) >= 1:
        raise InputError(f'split: parts are {dict(parts)}; expected fractions above 0 whose sum is below 1')
    dataset = DATASETS.build(dataset)
    labels = dataset.get_gt_labels()
    indices = split_indices(labels, parts, seed)[part]
    # In place: mmengine's get_subset copies with a memo that outlives the call and may hand out other data sets' parts.
    dataset.get_subset_(indices)
    return dataset


def split_indices(labels: np.ndarray, parts: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Indices of every part and of ``'train'``, ascending; together each index exactly once."""
    rng = np.random.default_rng(seed)
    divided: dict[str, list[int]] = {part: [] for part in (*parts, 'train')}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        sizes = [max(1, round(fraction * len(members))) for fraction in parts.values()]
        if sum(sizes) >= len(members):
            raise InputError(
                f'split: class {label} has {len(members)} images, too few for {[*parts, "train"]} to get one each'
            )
        *rows, rest = np.split(members, np.cumsum(sizes))
        for part, row in zip((*parts, 'train'), (*rows, rest), strict=True):
            divided[part] += row.tolist()
    return {part: sorted(members) for part, members in divided.items()}
