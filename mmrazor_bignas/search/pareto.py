"""Pareto front: what no other candidate beats."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

K = TypeVar('K', bound=Hashable)


def pareto_front(points: Mapping[K, Sequence[float]]) -> list[K]:
    """The keys of points that no other point dominates: none is as good everywhere and better somewhere.

    Args:
        points: ``key -> values``, of every value less is better (a score with a minus). A point with a NaN is left out;
            of equal points the first is kept.

    Returns:
        The keys, by ascending values, the last value first: a front of (-score, FLOPs) goes by FLOPs.
    """
    keys = [key for key, values in points.items() if not np.isnan(values).any()]
    if not keys:
        return []
    values = np.array([points[key] for key in keys], dtype=float)
    values, first = np.unique(values, axis=0, return_index=True)  # sorted: what dominates a row comes before it
    kept: list[int] = []
    for i, row in enumerate(values):
        if not (values[kept] <= row).all(axis=1).any():
            kept.append(i)
    kept.sort(key=lambda i: tuple(values[i][::-1]))
    return [keys[first[i]] for i in kept]
