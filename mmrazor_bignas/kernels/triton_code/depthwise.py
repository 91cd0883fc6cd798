"""Depthwise convolution and its gradients. Batch, channels and sides are run-time arguments."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmrazor_bignas.kernels.block_sizes import alignment, moment_tiles, tiles
from mmrazor_bignas.kernels.triton_code.launch import launch
from mmrazor_bignas.kernels.triton_code.moments import store_moments

SIZES = [
    'pixels', 'groups', 'height', 'width', 'of_height', 'of_width', 'w_channel', 'w_row', 'w_column',
    'pixels_per_split',
]  # fmt: skip


@triton.jit
def place(pixel, height, width):
    """Image, row and column of a pixel that is numbered through all images."""
    row = pixel // width
    image = row // height
    return image, row - image * height, pixel - row * width


@triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=['weight'])
def convolve(
    x, weight, out, moments,
    pixels, groups, height, width, of_height, of_width, pixels_per_split, w_channel, w_row, w_column,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, BACK: tl.constexpr, MOMENTS: tl.constexpr,
    ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The convolution of x (N, of_height, of_width, C) or, with BACK, its transposed one, which gives gradients back.

    out is (N, height, width, C), ``pixels`` of them in all. With MOMENTS also the mean and the sum of squared
    deviations of each part of the output's pixels -> moments (splits, 2, C), as a batch normalisation takes them.
    """
    channels = groups * ALIGN
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    split = tl.program_id(1)
    begin = split * pixels_per_split
    end = tl.minimum(begin + pixels_per_split, pixels)
    weight += c * w_channel
    if MOMENTS:
        near = tl.zeros((CHANNELS,), tl.float32)  # sums of squares of numbers far from 0 would lose digits
        deviations = tl.zeros((CHANNELS,), tl.float32)
        squares = tl.zeros((CHANNELS,), tl.float32)
    for at in range(begin, end, ROWS):
        pixel = at + tl.arange(0, ROWS)
        image, row, column = place(pixel, height, width)
        source = x + image.to(tl.int64)[:, None] * (of_height * of_width * channels) + c[None, :]
        total = tl.zeros((ROWS, CHANNELS), tl.float32)
        for kernel_row in range(KERNEL):  # not unrolled: too many loads at once do not fit into the registers
            if BACK:
                far_row = row + (KERNEL // 2 - kernel_row)
                at_row = far_row // STRIDE
                # A pixel between those that the convolution looked at has no part in it.
                inside_row = (far_row >= 0) & (at_row * STRIDE == far_row)
            else:
                at_row = row * STRIDE + (kernel_row - KERNEL // 2)
                inside_row = at_row >= 0
            inside_row = inside_row & (at_row < of_height) & (pixel < end)
            for kernel_column in tl.static_range(KERNEL):
                if BACK:
                    far_column = column + (KERNEL // 2 - kernel_column)
                    at_column = far_column // STRIDE
                    inside = inside_row & (far_column >= 0) & (at_column * STRIDE == far_column)
                else:
                    at_column = column * STRIDE + (kernel_column - KERNEL // 2)
                    inside = inside_row & (at_column >= 0)
                inside = inside & (at_column < of_width)
                value = tl.load(
                    source + ((at_row * of_width + at_column) * channels)[:, None],
                    mask=inside[:, None] & valid[None, :],
                    other=0,
                )
                factor = tl.load(weight + kernel_row * w_row + kernel_column * w_column, mask=valid, other=0)
                total += value.to(tl.float32) * factor.to(tl.float32)[None, :]
        rounded = total.to(out.dtype.element_ty)
        inside_out = (pixel < end)[:, None] & valid[None, :]
        tl.store(out + pixel.to(tl.int64)[:, None] * channels + c[None, :], rounded, mask=inside_out)
        if MOMENTS:
            written = rounded.to(tl.float32)
            first = tl.sum(tl.where((pixel == begin)[:, None], written, 0.0), 0)
            near = tl.where(at == begin, first, near)
            deviation = tl.where(inside_out, written - near[None, :], 0.0)
            deviations += tl.sum(deviation, 0)
            squares += tl.sum(deviation * deviation, 0)
    if MOMENTS:
        store_moments(moments + split * 2 * channels, c, channels, near, deviations, squares, end - begin)


@triton.jit(do_not_specialize=SIZES)
def partial_weight_gradient(
    x, grad, sums, pixels, groups, height, width, of_height, of_width, pixels_per_split,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr,
    ALIGN: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One row of the kernel, over a part of the pixels of grad (N, height, width, C) -> sums (splits, k, k, C).

    x is (N, of_height, of_width, C); COLUMNS is KERNEL, up to a power of two.
    """
    channels = groups * ALIGN
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    split, kernel_row = tl.program_id(1), tl.program_id(2)
    kernel_column = tl.arange(0, COLUMNS)
    begin = split * pixels_per_split
    end = tl.minimum(begin + pixels_per_split, pixels)
    total = tl.zeros((COLUMNS, ROWS, CHANNELS), tl.float32)
    for at in range(begin, end, ROWS):
        pixel = at + tl.arange(0, ROWS)
        image, row, column = place(pixel, height, width)
        gradient = tl.load(
            grad + pixel.to(tl.int64)[:, None] * channels + c[None, :],
            mask=(pixel < end)[:, None] & (c < channels)[None, :],
            other=0,
        )
        at_row = row * STRIDE + (kernel_row - KERNEL // 2)
        at_column = column[None, :] * STRIDE + (kernel_column - KERNEL // 2)[:, None]
        inside = ((at_row >= 0) & (at_row < of_height) & (pixel < end))[None, :]
        inside = inside & (at_column >= 0) & (at_column < of_width) & (kernel_column < KERNEL)[:, None]
        first = (image.to(tl.int64) * of_height + at_row) * of_width
        value = tl.load(
            x + ((first[None, :] + at_column) * channels)[:, :, None] + c[None, None, :],
            mask=inside[:, :, None] & (c < channels)[None, None, :],
            other=0,
        )
        total += value.to(tl.float32) * gradient.to(tl.float32)[None, :, :]
    out = sums + (split * KERNEL + kernel_row) * KERNEL * channels
    tl.store(
        out + kernel_column[:, None] * channels + c[None, :],
        tl.sum(total, 1),
        mask=(kernel_column < KERNEL)[:, None] & (c < channels)[None, :],
    )


def forward(x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """(N, C, H, W), (C, 1, k, k) -> (N, C, H / stride, W / stride), sides rounded up; moments of it (splits, 2, C)."""
    n, channels, height, width = x.shape
    sides = -(-height // stride), -(-width // stride)
    out = torch.empty((n, channels, *sides), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    splits = moment_tiles(out).splits
    moments = x.new_empty((splits, 2, channels), dtype=torch.float32)
    _convolve(x, weight, out, stride, moments)
    return out, moments


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The gradient of x (N, C, H, W), where ``grad`` is that of the output."""
    out = torch.empty_like(x, memory_format=torch.channels_last)  # which x need not be in
    _convolve(grad, weight, out, stride, None)
    return out


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The gradient of the weight (C, 1, k, k), float32, where ``grad`` is that of the output."""
    n, channels, height, width = grad.shape
    size, align, pixels = weight.shape[-1], alignment(channels), n * height * width
    over = tiles('depthwise_weight', x.element_size(), pixels, channels * size)  # programs for every row of the kernel
    channel_blocks = -(-channels // over.channels)
    sums = torch.empty((over.splits, size, size, channels), dtype=torch.float32, device=x.device)
    launch(
        partial_weight_gradient, (channel_blocks, over.splits, size), (x, grad, sums),
        (pixels, channels // align, height, width, *x.shape[2:], over.rows_per_split), over.warps,
        KERNEL=size, STRIDE=stride, COLUMNS=triton.next_power_of_2(size),
        ALIGN=align, ROWS=over.rows, CHANNELS=over.channels,
    )  # fmt: skip
    out = torch.empty((channels, 1, size, size), dtype=torch.float32, device=x.device)  # autograd would copy any other
    torch.sum(sums, 0, out=out[:, 0].permute(1, 2, 0))
    return out


def _convolve(x: Tensor, weight: Tensor, out: Tensor, stride: int, moments: Tensor | None) -> None:
    n, channels, height, width = out.shape
    align, over = alignment(channels), moment_tiles(out)
    w_channel, _, w_row, w_column = weight.stride()
    sizes = n * height * width, channels // align, height, width, *x.shape[2:]
    launch(
        convolve, over.grid, (x, weight, out, out if moments is None else moments),
        (*sizes, over.rows_per_split, w_channel, w_row, w_column), over.warps,
        KERNEL=weight.shape[-1], STRIDE=stride, BACK=moments is None, MOMENTS=moments is not None,
        ALIGN=align, ROWS=over.rows, CHANNELS=over.channels,
    )  # fmt: skip
