"""torch's layers, able to run a part of themselves.

The layers know nothing of search: the input tells a layer its input width, the spec tells it the rest. Without a spec
they are torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_bignas.models.depthwise import depthwise_conv2d
from mmrazor_bignas.search_space import ConvSpec


def slice_param(param: Tensor, shape: Sequence[int]) -> Tensor:
    """The part of a large tensor that a smaller network uses: the first channels, the centre of the kernel.

    The forward pass runs subnets with it and export cuts weights with it, so that what was searched is what is
    exported. When the part is the whole, the very same tensor is returned.

    Args:
        param: Tensor of at most 4 dimensions: (out, in, k, k), (out, in) or (channels,).
        shape: The wanted shape, no side larger than ``param``'s.
    """
    if param.shape == tuple(shape):
        return param
    for dim, size in enumerate(shape):
        if size != param.shape[dim]:
            start = (param.shape[dim] - size) // 2 if dim >= 2 else 0
            param = param.narrow(dim, start, size)
    return param


_as_shapes: ContextVar[bool] = ContextVar('weights_as_shapes', default=False)


@contextmanager
def weights_as_shapes() -> Iterator[None]:
    """Within, new convolutions and linear layers of this module have weights on torch's meta device: shapes, no values.

    Drawing weights takes longer than all else about building a network, and draws from the global generator. Within
    ``torch.device('meta')`` every call of torch goes through Python, and buffers would lose their values.
    """
    token = _as_shapes.set(True)
    try:
        yield
    finally:
        _as_shapes.reset(token)


class LateWeights(nn.Module):
    """A layer that draws its weights when it is built, unless :func:`weights_as_shapes` is on."""

    def reset_parameters(self) -> None:
        if not _as_shapes.get():
            super().reset_parameters()
            return
        for name, weight in self.named_parameters(recurse=False):
            setattr(self, name, nn.Parameter(torch.empty_like(weight, device='meta')))


class DynamicConv2d(LateWeights, nn.Conv2d):
    """nn.Conv2d of the sizes in ``spec`` that runs any smaller one of the same stride."""

    def __init__(self, spec: ConvSpec) -> None:
        super().__init__(
            spec.in_channels,
            spec.out_channels,
            spec.kernel_size,
            stride=spec.stride,
            padding=spec.padding,
            groups=spec.groups,
            bias=spec.bias,
        )

    def forward(self, x: Tensor, spec: ConvSpec) -> Tensor:
        """(N, spec.in_channels, H, W) -> (N, spec.out_channels, spec.out_side(H), spec.out_side(W))."""
        weight = slice_param(self.weight, spec.weight_shape)
        bias = None if self.bias is None else slice_param(self.bias, (spec.out_channels,))
        if spec.groups > 1:
            return depthwise_conv2d(x, weight, bias, self.stride, spec.padding)
        return F.conv2d(x, weight, bias, self.stride, spec.padding, 1, spec.groups)


class DynamicBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d over the first channels.

    In training mode a slice is normalised by its batch and leaves the running statistics alone, and so does the whole
    where momentum is 0, as in a supernet: statistics shared by many subnets would be those of none.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape, for any C up to ``num_features``."""
        channels = x.shape[1]
        if channels == self.num_features and self.momentum != 0:
            return super().forward(x)
        shape = (channels,)
        weight, bias = slice_param(self.weight, shape), slice_param(self.bias, shape)
        if self.training:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)
        mean, var = slice_param(self.running_mean, shape), slice_param(self.running_var, shape)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=self.eps)


class DynamicLinear(LateWeights, nn.Linear):
    """nn.Linear over the first input features."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, out_features), for any C up to ``in_features``."""
        return F.linear(x, slice_param(self.weight, (self.out_features, x.shape[1])), self.bias)


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zero whole samples of (N, C, H, W) at the given rate and scale the rest to keep the mean (arXiv:1603.09382)."""
    if rate == 0:
        return x
    keep = 1 - rate
    mask = torch.empty((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)
    return x * mask
