"""Squeeze-and-excite: four kernels forward, five backward.

What is per image and channel, (N, C) or (N, squeezed), is float32, and so are weights and their gradients; products are
of numbers in the format of the features.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmrazor_bignas.kernels.block_sizes import alignment, tiles
from mmrazor_bignas.kernels.triton_code.launch import launch

SIZES = ['pixels', 'groups', 'm', 'n', 'k', 'a_row', 'b_row', 'b_column', 'out_row', 'channel_blocks']
# By the features' format. TF32 holds every number of 16 bits.
FORMATS = {
    torch.float32: {'FORMAT': tl.float32, 'PRECISION': 'ieee'},
    torch.bfloat16: {'FORMAT': tl.bfloat16, 'PRECISION': 'tf32'},
    torch.float16: {'FORMAT': tl.float16, 'PRECISION': 'tf32'},
}


@triton.jit(do_not_specialize=SIZES)
def sum_pixels(
    x, other, gate, out, pixels, groups,
    GRADIENT: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The mean of x over an image's pixels or, with GRADIENT, the gradient before the gate's hard sigmoid."""
    channels = groups * ALIGN
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    image = tl.program_id(0)
    first = image.to(tl.int64) * pixels * channels
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    for at in range(0, pixels, ROWS):
        r = at + tl.arange(0, ROWS)
        inside = (r < pixels)[:, None] & valid[None, :]
        here = first + r[:, None] * channels + c[None, :]
        value = tl.load(x + here, mask=inside, other=0).to(tl.float32)
        if GRADIENT:
            value *= tl.load(other + here, mask=inside, other=0).to(tl.float32)
        total += value
    result = tl.sum(total, 0)
    if GRADIENT:
        level = tl.load(gate + image * channels + c, mask=valid, other=0)
        result = tl.where((level > 0) & (level < 1), result / 6, 0.0)
    else:
        result = result / pixels
    tl.store(out + image * channels + c, result, mask=valid)


@triton.jit(do_not_specialize=SIZES)
def scale_pixels(
    x, gate, mean_grad, out, pixels, groups, channel_blocks,
    GRADIENT: tl.constexpr, ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Out = x * gate or, with GRADIENT, that plus every pixel's share of the mean's gradient."""
    channels = groups * ALIGN
    image = tl.program_id(1)
    c = tl.program_id(0) % channel_blocks * CHANNELS + tl.arange(0, CHANNELS)  # only the first axis may be long
    r = tl.program_id(0) // channel_blocks * ROWS + tl.arange(0, ROWS)
    valid = c < channels
    inside = (r < pixels)[:, None] & valid[None, :]
    here = image.to(tl.int64) * pixels * channels + r[:, None] * channels + c[None, :]
    value = tl.load(x + here, mask=inside, other=0).to(tl.float32)
    value *= tl.load(gate + image * channels + c, mask=valid, other=0)[None, :]
    if GRADIENT:
        value += (tl.load(mean_grad + image * channels + c, mask=valid, other=0) / pixels)[None, :]
    tl.store(out + here, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def rounded_product(left, right, total, FORMAT: tl.constexpr, PRECISION: tl.constexpr):
    """Total + left @ right, of numbers rounded to FORMAT."""
    left, right = left.to(FORMAT).to(tl.float32), right.to(FORMAT).to(tl.float32)
    return tl.dot(left, right, total, input_precision=PRECISION)


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=['b', 'bias'])
def multiply(
    a, b, bias, above, out, m, n, k, a_row, b_row, b_column, out_row,
    THEN: tl.constexpr, BIAS: tl.constexpr, FORMAT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Out (m, n) = THEN(a (m, k) @ b (k, n) + bias (n,)); 'where_positive' keeps it where ``above`` (m, n) is."""
    i = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    j = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for at in range(0, k, BLOCK_K):
        by = at + tl.arange(0, BLOCK_K)
        left = tl.load(a + i[:, None] * a_row + by[None, :], mask=(i < m)[:, None] & (by < k)[None, :], other=0)
        right = tl.load(
            b + by[:, None] * b_row + j[None, :] * b_column, mask=(by < k)[:, None] & (j < n)[None, :], other=0
        )
        total = rounded_product(left, right, total, FORMAT, PRECISION)
    if BIAS:
        total += tl.load(bias + j, mask=j < n, other=0).to(tl.float32)[None, :]
    inside = (i < m)[:, None] & (j < n)[None, :]
    here = i[:, None] * out_row + j[None, :]
    if THEN == 'relu':
        total = tl.maximum(total, 0.0)
    elif THEN == 'hard_sigmoid':
        total = tl.minimum(tl.maximum(total + 3, 0.0), 6.0) / 6
    elif THEN == 'where_positive':
        total = tl.where(tl.load(above + here, mask=inside, other=0) > 0, total, 0.0)
    tl.store(out + here, total, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def layer_gradients(
    before_relu, mean, squeezed, before_gate, reduce_out, reduce_bias_out, expand_out, expand_bias_out, n, m, k,
    FORMAT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Gradients of weight and bias of both layers; of n images, m squeezed and k other channels.

    The first layer's weight is (m, k) and its bias (m,), the second's (k, m) and (k,).
    """
    i = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    j = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    first = tl.program_id(2) == 0
    left = before_relu if first else squeezed
    right = mean if first else before_gate
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    left_sum = tl.zeros((BLOCK_M,), tl.float32)
    right_sum = tl.zeros((BLOCK_N,), tl.float32)
    for at in range(0, n, BLOCK_K):
        by = at + tl.arange(0, BLOCK_K)
        of_left = tl.load(left + by[None, :] * m + i[:, None], mask=(i < m)[:, None] & (by < n)[None, :], other=0)
        of_right = tl.load(right + by[:, None] * k + j[None, :], mask=(by < n)[:, None] & (j < k)[None, :], other=0)
        total = rounded_product(of_left, of_right, total, FORMAT, PRECISION)
        left_sum += tl.sum(of_left, 1)
        right_sum += tl.sum(of_right, 0)
    inside = (i < m)[:, None] & (j < k)[None, :]
    if first:
        tl.store(reduce_out + i[:, None] * k + j[None, :], total, mask=inside)
        if tl.program_id(1) == 0:
            tl.store(reduce_bias_out + i, left_sum, mask=i < m)
    else:
        tl.store(expand_out + j[None, :] * m + i[:, None], total, mask=inside)
        if tl.program_id(0) == 0:
            tl.store(expand_bias_out + j, right_sum, mask=j < k)


def forward(
    x: Tensor, reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output (N, C, H, W), pixels' mean (N, C), what is squeezed (N, S) and gate (N, C)."""
    mean = _sum_pixels(x, x, x, gradient=False)
    squeezed = _multiply(mean, reduce[:, :, 0, 0].t(), x.dtype, 'relu', bias=reduce_bias)
    gate = _multiply(squeezed, expand[:, :, 0, 0].t(), x.dtype, 'hard_sigmoid', bias=expand_bias)
    return _scale_pixels(x, gate, None), mean, squeezed, gate


def backward(
    grad: Tensor, x: Tensor, reduce: Tensor, expand: Tensor, mean: Tensor, squeezed: Tensor, gate: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the input and of the two layers' weights and biases, where ``grad`` is that of the output."""
    before_gate = _sum_pixels(grad, x, gate, gradient=True)
    before_relu = _multiply(before_gate, expand[:, :, 0, 0], x.dtype, 'where_positive', above=squeezed)
    mean_grad = _multiply(before_relu, reduce[:, :, 0, 0], x.dtype, 'nothing')
    return (
        _scale_pixels(grad, gate, mean_grad),
        *_layer_gradients(before_relu, mean, squeezed, before_gate, x.dtype),
    )


def _sum_pixels(x: Tensor, other: Tensor, gate: Tensor, gradient: bool) -> Tensor:
    n, channels, height, width = x.shape
    align, over = alignment(channels), tiles('gate_reduce', x.element_size(), height * width, channels)
    out = x.new_empty((n, channels), dtype=torch.float32)
    launch(
        sum_pixels, (n, over.channel_blocks), (x, other, gate, out), (height * width, channels // align), over.warps,
        GRADIENT=gradient, ALIGN=align, ROWS=over.rows, CHANNELS=over.channels,
    )  # fmt: skip
    return out


def _scale_pixels(x: Tensor, gate: Tensor, mean_grad: Tensor | None) -> Tensor:
    n, channels, height, width = x.shape
    align, over = alignment(channels), tiles('gate_apply', x.element_size(), height * width, channels)
    out = torch.empty_like(x)
    launch(
        scale_pixels, (over.channel_blocks * over.splits, n), (x, gate, gate if mean_grad is None else mean_grad, out),
        (height * width, channels // align, over.channel_blocks), over.warps,
        GRADIENT=mean_grad is not None, ALIGN=align, ROWS=over.rows, CHANNELS=over.channels,
    )  # fmt: skip
    return out


def _multiply(
    a: Tensor, b: Tensor, dtype: torch.dtype, then: str, bias: Tensor | None = None, above: Tensor | None = None
) -> Tensor:
    (m, k), n = a.shape, b.shape[1]
    out = a.new_empty((m, n))
    block_m = 16 if m <= 16 else 64
    launch(
        multiply, (-(-m // block_m), -(-n // 32)),
        (a, b, b if bias is None else bias, out if above is None else above, out), (m, n, k, k, *b.stride(), n), 4,
        THEN=then, BIAS=bias is not None, **FORMATS[dtype], BLOCK_M=block_m, BLOCK_N=32, BLOCK_K=64,
    )  # fmt: skip
    return out


def _layer_gradients(
    before_relu: Tensor, mean: Tensor, squeezed: Tensor, before_gate: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (n, m), k = squeezed.shape, mean.shape[1]
    out = tuple(mean.new_empty(shape) for shape in ((m, k, 1, 1), (m,), (k, m, 1, 1), (k,)))
    launch(
        layer_gradients, (-(-m // 32), -(-k // 64), 2), (before_relu, mean, squeezed, before_gate, *out), (n, m, k), 4,
        **FORMATS[dtype], BLOCK_M=32, BLOCK_N=64, BLOCK_K=32,
    )  # fmt: skip
    return out
