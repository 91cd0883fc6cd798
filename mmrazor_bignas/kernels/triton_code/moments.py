"""Moments of parts of the rows, (splits, 2, C): mean and sum of squared deviations."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def store_moments(part, c, channels, near, deviations, squares, count):
    """Write a part's moments, from sums over its ``count`` rows of deviations from ``near`` and of their squares."""
    shift = deviations / count
    spread = squares - shift * shift * count
    tl.store(part + c, near + shift, mask=c < channels)
    tl.store(part + channels + c, tl.maximum(spread, 0.0), mask=c < channels)


@triton.jit
def total_moments(moments, c, channels, rows, rows_per_split, splits, SPLITS: tl.constexpr, CHANNELS: tl.constexpr):
    """The parts' moments together: mean and biased variance of the channels ``c``."""
    near = tl.load(moments + c, mask=c < channels, other=0)
    total = tl.zeros((SPLITS, CHANNELS), tl.float32)
    squares = tl.zeros((SPLITS, CHANNELS), tl.float32)
    for at in range(0, splits, SPLITS):
        s = at + tl.arange(0, SPLITS)
        inside = (s < splits)[:, None] & (c < channels)[None, :]
        count = tl.maximum(tl.minimum(rows_per_split, rows - s * rows_per_split), 0).to(tl.float32)[:, None]
        part = moments + s[:, None] * 2 * channels + c[None, :]
        deviation = tl.load(part, mask=inside, other=0) - near[None, :]
        total += tl.where(inside, count * deviation, 0.0)
        squares += tl.where(inside, count * deviation * deviation, 0.0)
        squares += tl.load(part + channels, mask=inside, other=0)
    shift = tl.sum(total, 0) / rows
    return near + shift, tl.maximum(tl.sum(squares, 0) / rows - shift * shift, 0.0)
