"""How sure one can be of a difference, a mean and a ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mmrazor_bignas.errors import InputError

CONFIDENCE = 0.95
RESAMPLES = 4000


def scipy_stats():
    """Scipy's statistics.

    Raises:
        InputError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise InputError('the report of a study needs scipy: pip install mmrazor_bignas[study]') from error
    return stats


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; nan for the error of a single value."""
    values = np.asarray(values, float)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(error)


def difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Mean of ``a`` minus mean of ``b``, with its standard error."""
    (mean_a, error_a), (mean_b, error_b) = mean_and_error(a), mean_and_error(b)
    return mean_a - mean_b, math.hypot(error_a, error_b)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its confidence interval (Student's t) over independent values, two or more."""
    mean, error = mean_and_error(values)
    half = error * scipy_stats().t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return mean, mean - half, mean + half


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings; nan where one has one value only."""
    return float(scipy_stats().kendalltau(a, b).statistic)


def tau_interval(a: Sequence[float], b: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Kendall's tau-b of two rankings and the ends of its confidence interval, by the bootstrap over pairs.

    Args:
        a: One number per subnet.
        b: The other number of each.
        seed: Of the bootstrap.

    Returns:
        nan where a ranking has one value only.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    rng = np.random.default_rng(seed)
    taus = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(a), size=len(a))
        if len(set(a[drawn])) > 1 and len(set(b[drawn])) > 1:
            taus.append(kendall_tau(a[drawn], b[drawn]))
    low, high = np.quantile(taus, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if taus else (math.nan, math.nan)
    return kendall_tau(a, b), float(low), float(high)
