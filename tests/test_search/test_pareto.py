"""The Pareto front against its definition."""

import math
from random import Random

import pytest

from mmrazor_bignas.search import pareto_front


@pytest.mark.parametrize('dimensions', [1, 2, 3])
@pytest.mark.parametrize('seed', range(5))
def test_it_is_what_nothing_dominates(dimensions, seed):
    rng = Random(seed)
    points = {i: tuple(rng.randrange(6) for _ in range(dimensions)) for i in range(40)}

    def dominated(point):
        return any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points.values()
        )

    front = pareto_front(points)
    assert {points[key] for key in front} == {point for point in points.values() if not dominated(point)}
    assert [points[key][-1] for key in front] == sorted(points[key][-1] for key in front)
    for key in front:
        assert key == min(other for other in points if points[other] == points[key])  # of equal ones, the first


def test_nan_is_never_on_it():
    assert pareto_front({'a': (math.nan, 1), 'b': (2, 2), 'c': (1, math.nan)}) == ['b']
    assert pareto_front({'a': (math.nan, 1)}) == pareto_front({}) == []
