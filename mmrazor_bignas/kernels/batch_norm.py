"""Batch normalisation with the batch's statistics, swish and the addition of a shortcut, as one operation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrazor_bignas.kernels.operation import Kernel, aligned, define, widened


def batch_norm_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    added: Tensor | None,
    eps: float,
    act: bool,
    moments: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """``act(batch_norm(x)) + added``, by kernels on a GPU: the input is read three times, all else once.

    Sums are float32, and so are the statistics and the gradients of weight and bias.

    Args:
        x: (N, C, H, W), of any layout; the output is in channels_last.
        weight: (C,) float32.
        bias: (C,) float32.
        added: (N, C, H, W) in the format of ``x``, or None.
        eps: Added to the variance.
        act: Whether swish follows the normalisation.
        moments: What :func:`~mmrazor_bignas.kernels.depthwise_conv2d_moments` gave with ``x``, which is then read once
            less.

    Returns:
        Output (N, C, H, W) in the format of ``x``; mean (C,) and biased variance (C,) of the batch, which have no
        gradient.

    Raises:
        ValueError: There is one value per channel, as in torch's.
    """
    F._verify_batch_size(x.size())
    return _forward(x, weight, bias, added, moments, eps, act)


def plain_forward(
    x: Tensor, weight: Tensor, bias: Tensor, added: Tensor | None, moments: Tensor | None, eps: float, act: bool
) -> tuple[Tensor, Tensor, Tensor]:
    var, mean = torch.var_mean(widened(x), (0, 2, 3), correction=0)
    out = widened(x) * _scale(weight, var, eps) + _per_channel(bias - mean * weight * (var + eps).rsqrt())
    out = F.silu(out) if act else out
    return (out if added is None else out + added).to(x.dtype), mean, var


def plain_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float, act: bool
) -> tuple[Tensor, Tensor, Tensor]:
    normal = (widened(x) - _per_channel(mean)) * _per_channel((var + eps).rsqrt())
    grad = widened(grad)
    if act:
        out = normal * _per_channel(weight) + _per_channel(bias)
        gate = out.sigmoid()
        grad = grad * gate * (1 + out * (1 - gate))
    grad_bias, grad_weight = grad.sum((0, 2, 3)), (grad * normal).sum((0, 2, 3))
    count = x.numel() // x.shape[1]
    grad = grad - _per_channel(grad_bias / count) - normal * _per_channel(grad_weight / count)
    return (grad * _scale(weight, var, eps)).to(x.dtype), grad_weight, grad_bias


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None]


def _scale(weight: Tensor, var: Tensor, eps: float) -> Tensor:
    return _per_channel(weight * (var + eps).rsqrt())


_FORWARD = Kernel('batch_norm.forward', plain_forward)
_BACKWARD = Kernel('batch_norm.backward', plain_backward)


def _run_forward(
    x: Tensor, weight: Tensor, bias: Tensor, added: Tensor | None, moments: Tensor | None, eps: float, act: bool
) -> tuple[Tensor, Tensor, Tensor]:
    x, added = aligned(x), None if added is None else aligned(added)
    return _FORWARD((act, added is None), x, weight, bias, added, moments, eps, act)


def _run_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float, act: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return _BACKWARD(act, aligned(grad.to(x.dtype)), aligned(x), weight, bias, mean, var, eps, act)


def _remember(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weight, bias, added, _, ctx.eps, ctx.act = inputs
    _, mean, var = output
    ctx.mark_non_differentiable(mean, var)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, bias, mean, var)
    ctx.adds = added is not None


def _gradients(ctx, grad: Tensor, *_) -> tuple:
    x, weight, bias, mean, var = ctx.saved_tensors
    grads = _backward(grad, x, weight, bias, mean, var, ctx.eps, ctx.act)
    return *grads, grad if ctx.adds else None, None, None, None


def _fake(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.channels_last), torch.empty_like(weight), torch.empty_like(weight)


_forward = define(
    'batch_norm_act(Tensor x, Tensor weight, Tensor bias, Tensor? added, Tensor? moments, float eps, bool act) '
    '-> (Tensor, Tensor, Tensor)',
    _run_forward,
    lambda x, weight, bias, added, moments, eps, act: _fake(x, weight),
    gradient=(_remember, _gradients),
)
_backward = define(
    'batch_norm_act_backward(Tensor grad, Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor var, float eps, '
    'bool act) -> (Tensor, Tensor, Tensor)',
    _run_backward,
    lambda grad, x, weight, bias, mean, var, eps, act: _fake(x, weight),
)
