"""Depthwise convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrazor_bignas.kernels.block_sizes import moment_tiles
from mmrazor_bignas.kernels.depthwise_cpu import (
    convolve_in_float32,
    convolve_in_two_parts,
    gains_from_two_parts,
    gradients,
    needs_float32,
)
from mmrazor_bignas.kernels.operation import Kernel, aligned, define, widened
from mmrazor_bignas.kernels.way import is_fused


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: int) -> Tensor:
    """``F.conv2d`` with one group per channel; equal up to rounding, forward and backward.

    On a GPU cuDNN compiles the backward pass in channels_last anew for every size, for a second each; the kernels here
    are compiled once for a kernel size, stride and format. On a CPU the weight gradient of 5 x 5 is faster than
    oneDNN's.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, k, k).
        bias: (C,) or None.
        stride: As conv2d's.
        padding: As conv2d's.

    Returns:
        (N, C, H / stride, W / stride), sides rounded up where padding is k // 2.
    """
    size = weight.shape[-1]
    if needs_float32(x, stride):
        return convolve_in_float32(x, weight, bias, stride, padding)
    if bias is None and size % 2 and padding == size // 2 and stride[0] == stride[1]:
        if is_fused(x):
            return _forward(x, weight, stride[0])[0]
        if gains_from_two_parts(x, weight, stride[0]) and not torch.jit.is_tracing():
            return convolve_in_two_parts(x, weight, stride[0])
    return F.conv2d(x, weight, bias, stride, padding, 1, x.shape[1])


def depthwise_conv2d_moments(x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """:func:`depthwise_conv2d` by a kernel, with what the batch normalisation after it has to know of the output.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, k, k), k odd; the padding is k // 2.
        stride: 1 or 2.

    Returns:
        (N, C, H / stride, W / stride), sides rounded up; mean and sum of squared deviations of parts of it, (parts, 2,
        C) float32, which have no gradient.
    """
    return _forward(x, weight, stride)


def plain_forward(x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    # In the contiguous layout, for which torch's kernels are compiled already.
    out = F.conv2d(x.contiguous(), weight.to(x.dtype).contiguous(), None, stride, weight.shape[-1] // 2, 1, x.shape[1])
    return out.contiguous(memory_format=torch.channels_last), plain_moments(out)


def plain_moments(out: Tensor) -> Tensor:
    """The moments of an output (N, C, H, W), in the parts in which the kernel takes it."""
    size = moment_tiles(out).rows_per_split
    pixels = widened(out).permute(0, 2, 3, 1).flatten(0, 2)
    whole = len(pixels) // size * size
    moments = []
    for parts in (pixels[:whole].unflatten(0, (-1, size)), pixels[None, whole:]):
        if parts.numel():
            var, mean = torch.var_mean(parts, 1, correction=0)
            moments.append(torch.stack([mean, var * parts.shape[1]], 1))
    return torch.cat(moments)


def plain_input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return _plain_gradients(grad, x, weight, stride, (True, False))[0].contiguous(memory_format=torch.channels_last)


def plain_weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return widened(_plain_gradients(grad, x, weight, stride, (False, True))[1]).contiguous()


def _plain_gradients(grad: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: tuple[bool, bool]) -> tuple:
    grad, x, weight = (one.to(x.dtype).contiguous() for one in (grad, x, weight))
    return gradients(grad, x, weight, stride, (weight.shape[-1] // 2,) * 2, wanted)


_FORWARD = Kernel('depthwise.forward', plain_forward)
_INPUT_GRADIENT = Kernel('depthwise.input_gradient', plain_input_gradient)
_WEIGHT_GRADIENT = Kernel('depthwise.weight_gradient', plain_weight_gradient)


def _run_forward(x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    return _FORWARD((weight.shape[-1], stride), aligned(x), weight, stride)


def _run_input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return _INPUT_GRADIENT((weight.shape[-1], stride), aligned(grad), x, weight, stride)


def _run_weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return _WEIGHT_GRADIENT((weight.shape[-1], stride), aligned(grad), aligned(x), weight, stride)


def _remember(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    x, weight, ctx.stride = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight)


def _gradients(ctx, grad: Tensor, _: None) -> tuple[Tensor | None, Tensor | None, None]:
    x, weight = ctx.saved_tensors
    of_x, of_weight, _ = ctx.needs_input_grad
    return (
        _input_gradient(grad, x, weight, ctx.stride) if of_x else None,
        _weight_gradient(grad, x, weight, ctx.stride).to(weight.dtype) if of_weight else None,
        None,
    )


def _fake_forward(x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    n, channels, height, width = x.shape
    sides = (height + stride - 1) // stride, (width + stride - 1) // stride
    out = x.new_empty((n, channels, *sides)).to(memory_format=torch.channels_last)
    moments = x.new_empty((moment_tiles(out).splits, 2, channels), dtype=torch.promote_types(x.dtype, torch.float32))
    return out, moments


_forward = define(
    'depthwise_conv2d(Tensor x, Tensor weight, int stride) -> (Tensor, Tensor)',
    _run_forward,
    _fake_forward,
    autocast=lambda dtype, x, weight, stride: _forward(x.to(dtype), weight, stride),  # the kernel rounds nothing
    gradient=(_remember, _gradients),
)
_input_gradient = define(
    'depthwise_conv2d_input_gradient(Tensor grad, Tensor x, Tensor weight, int stride) -> Tensor',
    _run_input_gradient,
    lambda grad, x, weight, stride: torch.empty_like(x, memory_format=torch.channels_last),
)
_weight_gradient = define(
    'depthwise_conv2d_weight_gradient(Tensor grad, Tensor x, Tensor weight, int stride) -> Tensor',
    _run_weight_gradient,
    lambda grad, x, weight, stride: weight.new_empty(
        weight.shape, dtype=torch.promote_types(weight.dtype, torch.float32)
    ),
)
