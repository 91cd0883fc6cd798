"""torch's layers, able to run a part of themselves.

The layers know nothing of search: the input tells a layer its input width, the spec tells it the rest. Without a spec
they are torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_bignas.kernels import (
    batch_norm_act,
    depthwise_conv2d,
    depthwise_conv2d_moments,
    is_fused,
    pointwise_conv2d,
    slice_param,
    slices,
)
from mmrazor_bignas.search_space import ConvSpec

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
        depthwise = spec.groups > 1
        weight, bias = self.slices(spec, cast=not depthwise)
        if depthwise:
            return depthwise_conv2d(x, weight, bias, self.stride, spec.padding)
        if spec.kernel_size == 1 and spec.stride == 1:
            return pointwise_conv2d(x, weight, bias)
        return F.conv2d(x, weight, bias, self.stride, spec.padding)

    def with_moments(self, x: Tensor, spec: ConvSpec) -> tuple[Tensor, Tensor | None]:
        """:meth:`forward`, with the moments that a depthwise kernel gives for the batch normalisation after it."""
        if spec.groups > 1 and self.bias is None and is_fused(x):
            return depthwise_conv2d_moments(x, self.slices(spec)[0], spec.stride)
        return self(x, spec), None

    def slices(self, spec: ConvSpec, cast: bool = False) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of ``spec``; with ``cast``, of a layer that autocast runs in its format."""
        weight = self.weight, spec.weight_shape
        if self.bias is None:
            return *slices(weight, cast=cast), None
        return slices(weight, (self.bias, (spec.out_channels,)), cast=cast)


class DynamicBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d over the first channels.

    In training mode a slice is normalised by its batch and leaves the running statistics alone, and so does the whole
    where momentum is 0, as in a supernet: statistics shared by many subnets would be those of none.
    """

    def forward(
        self, x: Tensor, act: bool = False, added: Tensor | None = None, moments: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) -> the same shape, for any C up to ``num_features``.

        Args:
            x: Features.
            act: Whether swish follows.
            added: What is added to the result, of its shape.
            moments: What the convolution before knows of ``x``, see :meth:`DynamicConv2d.with_moments`.
        """
        shape = (x.shape[1],)
        moves = x.shape[1] == self.num_features and self.momentum != 0
        if self.training and is_fused(x):
            x, mean, var = batch_norm_act(
                x, *slices((self.weight, shape), (self.bias, shape)), added, self.eps, act, moments
            )
            if moves:
                self._move_statistics(mean, var, x.numel() // x.shape[1])
            return x
        return act_and_add(super().forward(x) if moves else self._normalise(x, shape), act, added)

    def _normalise(self, x: Tensor, shape: tuple[int]) -> Tensor:
        weight, bias = slices((self.weight, shape), (self.bias, shape))
        if self.training:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)
        mean, var = slice_param(self.running_mean, shape), slice_param(self.running_var, shape)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=self.eps)

    @torch.no_grad()
    def _move_statistics(self, mean: Tensor, var: Tensor, count: int) -> None:
        """As torch's does, towards the unbiased variance of the batch's ``count`` pixels."""
        self.num_batches_tracked.add_(1)
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(var * (count / (count - 1)), momentum)


def act_and_add(x: Tensor, act: bool, added: Tensor | None) -> Tensor:
    """Swish where ``act`` says so, then the addition of a shortcut."""
    x = F.silu(x) if act else x
    return x if added is None else x + added


class DynamicLinear(LateWeights, nn.Linear):
    """nn.Linear over the first input features."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, out_features), for any C up to ``in_features``."""
        parts = (self.weight, (self.out_features, x.shape[1])), (self.bias, self.bias.shape)
        return F.linear(x, *slices(*parts, cast=True))


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zero whole samples of (N, C, H, W) at the given rate and scale the rest to keep the mean (arXiv:1603.09382)."""
    if rate == 0:
        return x
    keep = 1 - rate
    mask = torch.empty((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)
    return x * mask
