"""How sure one can be of a difference, a mean and a ranking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mmrazor_bignas.errors import InputError

CONFIDENCE = 0.95
RESAMPLES, SEED = 4000, 0


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


def difference(a: Sequence[float], b: Sequence[float], deviation: float | None = None) -> tuple[float, float]:
    """Mean of ``a`` minus mean of ``b``, with its standard error: from their own deviations, or from a known one."""
    (mean_a, error_a), (mean_b, error_b) = mean_and_error(a), mean_and_error(b)
    if deviation is not None:
        error_a, error_b = (deviation / math.sqrt(len(values)) for values in (a, b))
    return mean_a - mean_b, math.hypot(error_a, error_b)


def pooled_deviation(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation within groups that share it; nan if none has two values."""
    groups = [np.asarray(group, float) for group in groups]
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(((group - group.mean()) ** 2).sum() for group in groups)
    return math.sqrt(squares / freedom) if freedom else math.nan


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its confidence interval (Student's t) over independent values, two or more."""
    mean, error = mean_and_error(values)
    half = error * scipy_stats().t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return mean, mean - half, mean + half


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings; nan where one has one value only."""
    return float(scipy_stats().kendalltau(a, b).statistic)


def tau_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Kendall's tau-b of two rankings and the ends of its confidence interval, by the bootstrap over pairs.

    Args:
        a: One number per subnet.
        b: The other number of each.

    Returns:
        nan where a ranking has one value only.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    rng = np.random.default_rng(SEED)
    taus = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(a), size=len(a))
        if len(set(a[drawn])) > 1 and len(set(b[drawn])) > 1:
            taus.append(kendall_tau(a[drawn], b[drawn]))
    low, high = np.quantile(taus, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if taus else (math.nan, math.nan)
    return kendall_tau(a, b), float(low), float(high)
