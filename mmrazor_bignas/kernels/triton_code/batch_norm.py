"""Batch normalisation with batch statistics, activation and addition: two kernels forward, two backward.

Where a depthwise convolution has summed its output already, one is enough forward.

The first of each pair sums over parts of the rows; the programs of the second add up the parts, in their order, before
they write. So the result does not depend on which program was faster.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmrazor_bignas.kernels.block_sizes import alignment, moment_tiles, tiles
from mmrazor_bignas.kernels.triton_code.launch import launch
from mmrazor_bignas.kernels.triton_code.moments import store_moments, total_moments

SPLITS_AT_ONCE = 32
SIZES = ['rows', 'groups', 'rows_per_split', 'splits', 'rows_per_program']
PARAMETERS = ['weight', 'bias']


@triton.jit(do_not_specialize=SIZES)
def partial_moments(
    x, moments, rows, groups, rows_per_split, ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    """Of each part of the rows: mean and sum of squared deviations -> moments (splits, 2, C)."""
    channels = groups * ALIGN
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    split = tl.program_id(1)
    begin = split * rows_per_split
    count = tl.minimum(rows_per_split, rows - begin)
    x += begin.to(tl.int64) * channels
    # Deviations from a value of the channel: sums of squares of numbers far from 0 would lose digits.
    near = tl.load(x + c, mask=c < channels, other=0).to(tl.float32)
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    squares = tl.zeros((ROWS, CHANNELS), tl.float32)
    for at in range(0, count, ROWS):
        r = at + tl.arange(0, ROWS)
        inside = (r < count)[:, None] & (c < channels)[None, :]
        value = tl.load(x + r[:, None] * channels + c[None, :], mask=inside, other=0).to(tl.float32)
        deviation = tl.where(inside, value - near[None, :], 0.0)
        total += deviation
        squares += deviation * deviation
    store_moments(moments + split * 2 * channels, c, channels, near, tl.sum(total, 0), tl.sum(squares, 0), count)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=PARAMETERS)
def normalise(
    x, added, moments, weight, bias, out, mean_out, var_out,
    rows, groups, rows_per_split, splits, rows_per_program, eps,
    ACT: tl.constexpr, ADD: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
    SPLITS: tl.constexpr,
):  # fmt: skip
    """Out = act(weight * (x - mean) / sqrt(var + eps) + bias) + added; the statistics are written, too."""
    channels = groups * ALIGN
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    mean, var = total_moments(moments, c, channels, rows, rows_per_split, splits, SPLITS, CHANNELS)
    if tl.program_id(1) == 0:
        tl.store(mean_out + c, mean, mask=valid)
        tl.store(var_out + c, var, mask=valid)
    scale = tl.load(weight + c, mask=valid, other=0) * tl.rsqrt(var + eps)
    shift = tl.load(bias + c, mask=valid, other=0)
    begin = tl.program_id(1) * rows_per_program
    count = tl.minimum(rows_per_program, rows - begin)
    first = begin.to(tl.int64) * channels
    for at in range(0, count, ROWS):
        r = at + tl.arange(0, ROWS)
        inside = (r < count)[:, None] & valid[None, :]
        here = first + r[:, None] * channels + c[None, :]
        value = tl.load(x + here, mask=inside, other=0).to(tl.float32) - mean[None, :]
        value = value * scale[None, :] + shift[None, :]
        if ACT:
            value *= tl.sigmoid(value)
        if ADD:
            value += tl.load(added + here, mask=inside, other=0).to(tl.float32)
        tl.store(out + here, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def of_channels(mean, var, weight, bias, c, valid, eps):
    """What the normalisation subtracts, one over the deviation, and what it then multiplies by and adds."""
    centre = tl.load(mean + c, mask=valid, other=0)
    inverse = tl.rsqrt(tl.load(var + c, mask=valid, other=1) + eps)
    scale = tl.load(weight + c, mask=valid, other=0) * inverse
    return centre, inverse, scale, tl.load(bias + c, mask=valid, other=0)


@triton.jit
def input_of_act(x, here, inside, centre, scale, shift, grad, ACT: tl.constexpr):
    """The input less its mean and the normalised value's gradient; ``grad`` is that of the activation's output."""
    value = tl.load(x + here, mask=inside, other=0).to(tl.float32) - centre[None, :]
    gradient = tl.load(grad + here, mask=inside, other=0).to(tl.float32)
    if ACT:
        normalised = value * scale[None, :] + shift[None, :]
        gate = tl.sigmoid(normalised)
        gradient *= gate * (1 + normalised * (1 - gate))
    return value, gradient


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=PARAMETERS)
def partial_gradients(
    grad, x, mean, var, weight, bias, sums, rows, groups, rows_per_split, eps,
    ACT: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Of each part of the rows: the gradients of bias and weight -> sums (splits, 2, C)."""
    channels = groups * ALIGN
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    centre, inverse, scale, shift = of_channels(mean, var, weight, bias, c, valid, eps)
    split = tl.program_id(1)
    begin = split * rows_per_split
    count = tl.minimum(rows_per_split, rows - begin)
    first = begin.to(tl.int64) * channels
    of_bias = tl.zeros((ROWS, CHANNELS), tl.float32)
    of_weight = tl.zeros((ROWS, CHANNELS), tl.float32)
    for at in range(0, count, ROWS):
        r = at + tl.arange(0, ROWS)
        inside = (r < count)[:, None] & valid[None, :]
        here = first + r[:, None] * channels + c[None, :]
        value, gradient = input_of_act(x, here, inside, centre, scale, shift, grad, ACT)
        of_bias += gradient
        of_weight += gradient * tl.where(inside, value, 0.0)
    out = sums + split * 2 * channels + c
    tl.store(out, tl.sum(of_bias, 0), mask=valid)
    tl.store(out + channels, tl.sum(of_weight, 0) * inverse, mask=valid)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=PARAMETERS)
def input_gradient(
    grad, x, mean, var, weight, bias, sums, grad_x, grad_weight, grad_bias, rows, groups, splits, rows_per_program, eps,
    ACT: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """The gradient of the input; those of weight and bias are added up and written, too."""
    channels = groups * ALIGN
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    centre, inverse, scale, shift = of_channels(mean, var, weight, bias, c, valid, eps)
    of_bias = tl.zeros((SPLITS, CHANNELS), tl.float32)
    of_weight = tl.zeros((SPLITS, CHANNELS), tl.float32)
    for at in range(0, splits, SPLITS):
        s = at + tl.arange(0, SPLITS)
        inside = (s < splits)[:, None] & valid[None, :]
        part = sums + s[:, None] * 2 * channels + c[None, :]
        of_bias += tl.load(part, mask=inside, other=0)
        of_weight += tl.load(part + channels, mask=inside, other=0)
    whole_bias, whole_weight = tl.sum(of_bias, 0), tl.sum(of_weight, 0)
    if tl.program_id(1) == 0:
        tl.store(grad_bias + c, whole_bias, mask=valid)
        tl.store(grad_weight + c, whole_weight, mask=valid)
    slope = inverse * whole_weight / rows
    offset = whole_bias / rows
    begin = tl.program_id(1) * rows_per_program
    count = tl.minimum(rows_per_program, rows - begin)
    first = begin.to(tl.int64) * channels
    for at in range(0, count, ROWS):
        r = at + tl.arange(0, ROWS)
        inside = (r < count)[:, None] & valid[None, :]
        here = first + r[:, None] * channels + c[None, :]
        value, gradient = input_of_act(x, here, inside, centre, scale, shift, grad, ACT)
        result = scale[None, :] * (gradient - offset[None, :] - value * slope[None, :])
        tl.store(grad_x + here, result.to(grad_x.dtype.element_ty), mask=inside)


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, added: Tensor | None, moments: Tensor | None, eps: float, act: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (N, C, H, W), mean (C,) and biased variance (C,) of the batch.

    Args:
        x: (N, C, H, W).
        weight: (C,).
        bias: (C,).
        added: (N, C, H, W) or None.
        moments: Those of ``x`` (splits, 2, C) where a depthwise convolution gave them, else None.
        eps: Added to the variance.
        act: Whether swish follows.
    """
    channels = x.shape[1]
    rows, align = x.numel() // channels, alignment(channels)
    by = tiles('norm_reduce', x.element_size(), rows, channels) if moments is None else moment_tiles(x)
    over = tiles('norm_apply', x.element_size(), rows, channels)
    if moments is None:
        moments = x.new_empty((by.splits, 2, channels), dtype=torch.float32)
        launch(
            partial_moments, by.grid, (x, moments), (rows, channels // align, by.rows_per_split), by.warps,
            ALIGN=align, ROWS=by.rows, CHANNELS=by.channels,
        )  # fmt: skip
    out, mean, var = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    launch(
        normalise, over.grid, (x, x if added is None else added, moments, weight, bias, out, mean, var),
        (rows, channels // align, by.rows_per_split, by.splits, over.rows_per_split, eps), over.warps,
        ACT=act, ADD=added is not None, ALIGN=align, ROWS=over.rows, CHANNELS=over.channels, SPLITS=SPLITS_AT_ONCE,
    )  # fmt: skip
    return out, mean, var


def backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float, act: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input (N, C, H, W), of weight and bias (C,), where ``grad`` is that of the output."""
    channels = x.shape[1]
    rows, align = x.numel() // channels, alignment(channels)
    by = tiles('norm_reduce', x.element_size(), rows, channels)
    over = tiles('norm_apply', x.element_size(), rows, channels)
    sums = x.new_empty((by.splits, 2, channels), dtype=torch.float32)
    launch(
        partial_gradients, by.grid, (grad, x, mean, var, weight, bias, sums),
        (rows, channels // align, by.rows_per_split, eps), by.warps,
        ACT=act, ALIGN=align, ROWS=by.rows, CHANNELS=by.channels,
    )  # fmt: skip
    grad_x, grad_weight, grad_bias = torch.empty_like(x), torch.empty_like(mean), torch.empty_like(mean)
    launch(
        input_gradient, over.grid, (grad, x, mean, var, weight, bias, sums, grad_x, grad_weight, grad_bias),
        (rows, channels // align, by.splits, over.rows_per_split, eps), over.warps,
        ACT=act, ALIGN=align, ROWS=over.rows, CHANNELS=over.channels, SPLITS=SPLITS_AT_ONCE,
    )  # fmt: skip
    return grad_x, grad_weight, grad_bias
