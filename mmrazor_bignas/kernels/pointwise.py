"""Pointwise convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrazor_bignas.kernels.way import runs_kernels


def pointwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.conv2d`` with a kernel of one pixel, stride 1 and one group; equal up to rounding, forward and backward.

    In channels_last it is a matrix product, which cuBLAS begins without a cost for a new size, as cuDNN does not.

    Args:
        x: (N, in, H, W).
        weight: (out, in, 1, 1), also a slice of a larger one.
        bias: (out,) or None.

    Returns:
        (N, out, H, W).
    """
    if runs_kernels(x) and x.is_contiguous(memory_format=torch.channels_last):
        return as_matrix_product(x, weight, bias)
    return F.conv2d(x, weight, bias)


def as_matrix_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same of ``x`` in channels_last, in which the output is, too."""
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
