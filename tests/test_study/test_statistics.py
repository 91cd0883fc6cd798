import math

import numpy as np
import pytest

from mmrazor_bignas.study.statistics import (
    difference,
    kendall_tau,
    mean_and_error,
    mean_interval,
    pooled_deviation,
    tau_interval,
)


def test_tau_of_equal_and_of_opposite_rankings():
    values = [3.0, 1.0, 2.0, 5.0, 4.0]
    assert kendall_tau(values, [10 * value for value in values]) == pytest.approx(1)
    assert kendall_tau(values, [-value for value in values]) == pytest.approx(-1)
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx((5 - 1) / 6)


def test_the_interval_holds_tau_and_shrinks_with_more_subnets():
    rng = np.random.default_rng(0)
    widths = []
    for number in (8, 80):
        a = rng.normal(size=number)
        tau, low, high = tau_interval(a, a + rng.normal(size=number))
        assert low < tau < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_interval_is_the_same_at_every_call():
    a, b = [1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]
    assert tau_interval(a, b) == tau_interval(a, b)


def test_rankings_of_one_value():
    assert all(math.isnan(value) for value in tau_interval([1.0, 1.0], [1.0, 2.0]))


def test_means_and_their_errors():
    assert mean_and_error([1.0, 3.0]) == (2.0, 1.0)
    assert math.isnan(mean_and_error([1.0])[1])
    assert difference([1.0, 3.0], [0.0], deviation=2.0) == (2.0, pytest.approx(math.sqrt(2 + 4)))
    assert difference([1.0, 3.0], [0.0, 2.0]) == (1.0, pytest.approx(math.sqrt(2)))
    mean, low, high = mean_interval([1.0, 3.0])
    assert (mean, mean - low) == (2.0, pytest.approx(high - mean))
    assert high - mean == pytest.approx(12.706, abs=1e-3)  # Student's t of one degree of freedom


def test_the_deviation_within_groups():
    assert pooled_deviation([[1.0, 3.0], [10.0, 14.0, 18.0], [7.0]]) == pytest.approx(math.sqrt((2 + 32) / 3))
    assert math.isnan(pooled_deviation([[1.0], [2.0]]))
