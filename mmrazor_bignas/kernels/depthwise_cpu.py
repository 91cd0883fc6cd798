"""Depthwise convolution on a CPU where oneDNN's weight gradient is slow, or wrong."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

ON_X86 = torch.backends.cpu.get_cpu_capability() in ('AVX2', 'AVX512')
KERNEL, PADDING = 5, 2
PART = 3  # columns that oneDNN's depthwise kernel can take at once
SHIFT = KERNEL - PART  # between the two parts, in pixels of the input


def needs_float32(x: Tensor, stride: tuple[int, int]) -> bool:
    """Whether oneDNN's weight gradient is wrong: in bfloat16, of maps one pixel wide, with stride 2.

    Where the kernel reaches beyond the map, it leaves what was in the memory before.
    """
    return (
        x.device.type == 'cpu'
        and stride[1] == 2
        and x.shape[-1] == 1
        and (x.dtype == torch.bfloat16 or torch.is_autocast_enabled('cpu'))
    )


def convolve_in_float32(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: int
) -> Tensor:
    """:func:`~mmrazor_bignas.kernels.depthwise_conv2d` with float32 inside; the result is in the format of before."""
    dtype = torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else x.dtype
    with torch.autocast('cpu', enabled=False):
        bias = None if bias is None else bias.float()
        out = F.conv2d(x.to(dtype).float(), weight.to(dtype).float(), bias, stride, padding, 1, x.shape[1])
    return out.to(dtype)


def gains_from_two_parts(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether the weight gradient is faster in two parts."""
    return (
        ON_X86
        and weight.requires_grad
        and torch.is_grad_enabled()
        and weight.shape[-1] == KERNEL
        and stride in (1, 2)
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def convolve_in_two_parts(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """A 5 x 5 depthwise convolution, padding 2, whose weight gradient is computed in two parts.

    oneDNN has no kernel of x86 CPUs for the weight gradient of 5 x 5 depthwise convolutions and takes one that is ten
    times slower than the forward pass; in channels_last, as two convolutions of 5 x 3 it takes half the time.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, 5, 5).
        stride: 1 or 2.

    Returns:
        (N, C, H / stride, W / stride), sides rounded up.
    """
    return _InTwoParts.apply(x, weight, stride)


class _InTwoParts(Function):
    """5 x 5, channels_last."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, PADDING, 1, x.shape[1])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        wanted, padding = ctx.needs_input_grad[0], (PADDING, PADDING)
        grad_x = gradients(grad, x, weight, ctx.stride, padding, (True, False))[0] if wanted else None
        return grad_x, _weight_gradient(grad, x, weight, ctx.stride), None


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    # Left and right columns of the kernel differ by a shift of the output's gradient. Both shifts are views of one
    # buffer: rows (grad, 0) read a shift earlier are rows (0, grad), with as many zeros as the shift has pixels.
    n, c, height, width = grad.shape
    shift = SHIFT // stride
    pixels = n * height * (width + shift)
    buffer = grad.new_zeros(pixels + shift, c)
    rows = [buffer[start : start + pixels].view(n, height, width + shift, c) for start in (shift, 0)]
    rows[0][:, :, :width] = grad.permute(0, 2, 3, 1)
    x = F.pad(x, (1, 1))  # with a padding of 1 or less the fast kernel is taken
    part, padding = weight.new_empty(c, 1, KERNEL, PART), (PADDING, 1)
    left, right = (
        gradients(shifted.permute(0, 3, 1, 2), x, part, stride, padding, (False, True))[1] for shifted in rows
    )
    return torch.cat([left, right[..., 2 * PART - KERNEL :]], 3)


def gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Torch's gradients of x and weight of a depthwise convolution, those that are wanted."""
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, padding, [1, 1], False, [0, 0], x.shape[1], [*wanted, False]
    )
