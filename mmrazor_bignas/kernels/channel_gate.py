"""Squeeze-and-excite as one operation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrazor_bignas.kernels.operation import Kernel, aligned, define, widened
from mmrazor_bignas.kernels.pointwise import pointwise_conv2d
from mmrazor_bignas.kernels.way import is_fused


def squeeze_excite(x: Tensor, reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor) -> Tensor:
    """Channel gate (arXiv:1709.01507) with ReLU inside and a hard sigmoid, relu6(x + 3) / 6, outside.

    Args:
        x: (N, C, H, W).
        reduce: (S, C, 1, 1).
        reduce_bias: (S,).
        expand: (C, S, 1, 1).
        expand_bias: (C,).

    Returns:
        (N, C, H, W).
    """
    if is_fused(x):
        return _forward(x, reduce, reduce_bias, expand, expand_bias)[0]
    gate = F.relu(pointwise_conv2d(F.adaptive_avg_pool2d(x, 1), reduce, reduce_bias))
    return x * F.hardsigmoid(pointwise_conv2d(gate, expand, expand_bias))


def plain_forward(
    x: Tensor, reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    reduce, reduce_bias, expand, expand_bias = map(widened, (reduce, reduce_bias, expand, expand_bias))
    mean = widened(x).mean((2, 3))
    squeezed = F.relu(F.linear(mean, reduce[:, :, 0, 0], reduce_bias))
    gate = F.hardsigmoid(F.linear(squeezed, expand[:, :, 0, 0], expand_bias))
    return (widened(x) * gate[:, :, None, None]).to(x.dtype), mean, squeezed, gate


def plain_backward(
    grad: Tensor, x: Tensor, reduce: Tensor, expand: Tensor, mean: Tensor, squeezed: Tensor, gate: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad, reduce, expand = widened(grad), widened(reduce)[:, :, 0, 0], widened(expand)[:, :, 0, 0]
    before_gate = (grad * widened(x)).sum((2, 3)) / 6 * ((gate > 0) & (gate < 1))
    before_relu = before_gate @ expand * (squeezed > 0)
    of_mean = before_relu @ reduce / (x.shape[2] * x.shape[3])
    return (
        (grad * gate[:, :, None, None] + of_mean[:, :, None, None]).to(x.dtype),
        (before_relu.t() @ mean)[:, :, None, None],
        before_relu.sum(0),
        (before_gate.t() @ squeezed)[:, :, None, None],
        before_gate.sum(0),
    )


_FORWARD = Kernel('channel_gate.forward', plain_forward)
_BACKWARD = Kernel('channel_gate.backward', plain_backward)


def _run_forward(
    x: Tensor, reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _FORWARD(None, aligned(x), reduce, reduce_bias, expand, expand_bias)


def _run_backward(
    grad: Tensor, x: Tensor, reduce: Tensor, expand: Tensor, mean: Tensor, squeezed: Tensor, gate: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _BACKWARD(None, aligned(grad.to(x.dtype)), aligned(x), reduce, expand, mean, squeezed, gate)


def _remember(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    x, reduce, reduce_bias, expand, expand_bias = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.bias_dtypes = reduce_bias.dtype, expand_bias.dtype
    ctx.save_for_backward(x, reduce, expand, *output[1:])


def _gradients(ctx, grad: Tensor, *_) -> tuple[Tensor, ...]:
    x, reduce, expand, mean, squeezed, gate = ctx.saved_tensors
    of_x, *of_weights = _backward(grad, x, reduce, expand, mean, squeezed, gate)
    dtypes = reduce.dtype, ctx.bias_dtypes[0], expand.dtype, ctx.bias_dtypes[1]
    return of_x, *(of.to(dtype) for of, dtype in zip(of_weights, dtypes, strict=True))


def _fake_forward(
    x: Tensor, reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, channels = x.shape[:2]
    inner = {'dtype': torch.promote_types(x.dtype, torch.float32)}
    sizes = (n, channels), (n, reduce.shape[0]), (n, channels)
    return torch.empty_like(x, memory_format=torch.channels_last), *(x.new_empty(size, **inner) for size in sizes)


def _fake_backward(
    grad: Tensor, x: Tensor, reduce: Tensor, expand: Tensor, mean: Tensor, squeezed: Tensor, gate: Tensor
) -> tuple[Tensor, ...]:
    sizes = reduce.shape, reduce.shape[:1], expand.shape, expand.shape[:1]
    return torch.empty_like(x, memory_format=torch.channels_last), *(mean.new_empty(size) for size in sizes)


def _autocast(dtype: torch.dtype, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _forward(x.to(dtype), *weights)


_forward = define(
    'squeeze_excite(Tensor x, Tensor reduce, Tensor reduce_bias, Tensor expand, Tensor expand_bias) '
    '-> (Tensor, Tensor, Tensor, Tensor)',
    _run_forward,
    _fake_forward,
    autocast=_autocast,
    gradient=(_remember, _gradients),
)
_backward = define(
    'squeeze_excite_backward(Tensor grad, Tensor x, Tensor reduce, Tensor expand, Tensor mean, Tensor squeezed, '
    'Tensor gate) -> (Tensor, Tensor, Tensor, Tensor, Tensor)',
    _run_backward,
    _fake_backward,
)
