"""What is measured of a layer: with this package's kernels, with their plain twins and with torch's operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from kernel_layers import EPS, changed
from torch import Tensor

from mmrazor_bignas.kernels import batch_norm, channel_gate, depthwise, pointwise, slicing
from mmrazor_bignas.kernels.operation import as_tuple

LAYOUTS = {'NHWC': torch.channels_last, 'NCHW': torch.contiguous_format}


def in_layout(t: SimpleNamespace, layout: str, dtype: torch.dtype) -> SimpleNamespace:
    """Inputs for torch's operations, with the weights of convolutions in autocast's format."""

    def change(name: str, x: Tensor) -> Tensor:
        x = x.to(dtype) if x.ndim == 4 or name.endswith('_bias') else x
        return x.contiguous(memory_format=LAYOUTS[layout]) if x.ndim == 4 else x

    return t if hasattr(t, 'parts') else changed(t, change)


@dataclass(frozen=True)
class Pass:
    """What is measured of a layer.

    Attributes:
        family: Of :data:`FAMILIES`.
        name: Of the pass.
        ours: What is measured.
        exact: The plain twin.
        torch: With torch's operations.
        reads: The inputs that must be read.
        entries: Of BLOCK_SIZES.
        leaves: Where there are any, ``torch`` is a forward pass, and their gradients are measured.
        compiles: Whether cuDNN compiles a kernel for every new shape in channels_last.
    """

    family: str
    name: str
    ours: Callable
    exact: Callable
    torch: Callable
    reads: tuple[str, ...]
    entries: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    compiles: bool = False

    def __str__(self) -> str:
        return f'{self.family} {self.name}'


def passes() -> list[Pass]:
    """All of them. Triton is imported here, where it is known to be there."""
    from mmrazor_bignas.kernels.triton_code import add_parts
    from mmrazor_bignas.kernels.triton_code import batch_norm as norm
    from mmrazor_bignas.kernels.triton_code import channel_gate as gate
    from mmrazor_bignas.kernels.triton_code import depthwise as dw

    def convolution(t):
        stride, groups = getattr(t, 'stride', 1), t.x.shape[1] // t.weight.shape[1]
        return F.conv2d(t.x, t.weight, None, stride, t.weight.shape[-1] // 2, 1, groups)

    def of_convolution(t, of_x: bool, of_weight: bool):
        stride, groups = getattr(t, 'stride', 1), t.x.shape[1] // t.weight.shape[1]
        found = torch.ops.aten.convolution_backward(
            t.grad, t.x, t.weight, None, [stride] * 2, [t.weight.shape[-1] // 2] * 2, [1, 1], False, [0, 0], groups,
            [of_x, of_weight, False],
        )  # fmt: skip
        return tuple(one for one in found if one is not None)

    def product_gradients(t):  # as autograd has them
        grad, x = (one.permute(0, 2, 3, 1) for one in (t.grad, t.x))
        of_weight = grad.flatten(0, 2).t() @ x.flatten(0, 2)
        return (grad @ t.weight.flatten(1)).permute(0, 3, 1, 2), of_weight[:, :, None, None]

    def torch_norm(t):
        out = F.batch_norm(t.x, None, None, t.weight, t.bias, training=True, eps=EPS)
        out = F.silu(out) if t.act else out
        return out if t.added is None else out + t.added

    def torch_gate(t):
        squeezed = F.relu(F.conv2d(F.adaptive_avg_pool2d(t.x, 1), t.reduce, t.reduce_bias))
        return t.x * F.hardsigmoid(F.conv2d(squeezed, t.expand, t.expand_bias))

    def depthwise_and_norm(convolve: Callable, normalise: Callable) -> Callable:
        def call(t):
            out, moments = convolve(t)
            ones = torch.ones(out.shape[1], device=out.device)
            return normalise(SimpleNamespace(x=out, weight=ones, bias=ones, moments=moments, eps=EPS, act=True))

        return call

    def torch_depthwise_and_norm(t):
        out = convolution(t)
        ones = torch.ones(out.shape[1], device=out.device)
        return F.silu(F.batch_norm(out, None, None, ones, ones, training=True, eps=EPS))

    weights = ('reduce', 'reduce_bias', 'expand', 'expand_bias')
    of_norm, of_gate = ('norm_reduce', 'norm_apply'), ('gate_reduce', 'gate_apply')
    plain_convolve, plain_norm = by_name(depthwise.plain_forward), by_name(batch_norm.plain_forward, 1)
    return [
        Pass(
            'depthwise', 'forward', by_name(dw.forward, 1), by_name(depthwise.plain_forward, 1),
            convolution, ('x', 'weight'), ('depthwise',),
        ),
        Pass(
            'depthwise', 'forward + norm', depthwise_and_norm(by_name(dw.forward), by_name(norm.forward, 1)),
            depthwise_and_norm(plain_convolve, plain_norm), torch_depthwise_and_norm, ('x', 'weight'),
            ('depthwise', 'norm_apply'),
        ),
        Pass(
            'depthwise', 'input gradient', by_name(dw.input_gradient), by_name(depthwise.plain_input_gradient),
            lambda t: of_convolution(t, True, False), ('grad', 'weight'), ('depthwise',), compiles=True,
        ),
        Pass(
            'depthwise', 'weight gradient', by_name(dw.weight_gradient), by_name(depthwise.plain_weight_gradient),
            lambda t: of_convolution(t, False, True), ('grad', 'x'), ('depthwise_weight',), compiles=True,
        ),
        Pass(
            'norm', 'forward', by_name(norm.forward), by_name(batch_norm.plain_forward),
            torch_norm, ('x', 'added'), of_norm,
        ),
        Pass(
            'norm', 'backward', by_name(norm.backward), by_name(batch_norm.plain_backward),
            torch_norm, ('grad', 'x'), of_norm, ('x', 'weight', 'bias', 'added'),
        ),
        Pass(
            'gate', 'forward', by_name(gate.forward), by_name(channel_gate.plain_forward),
            torch_gate, ('x', *weights), of_gate,
        ),
        Pass(
            'gate', 'backward', by_name(gate.backward), by_name(channel_gate.plain_backward),
            torch_gate, ('grad', 'x', 'reduce', 'expand'), of_gate, ('x', *weights),
        ),
        Pass(
            'pointwise', 'forward', lambda t: pointwise.as_matrix_product(t.x, t.weight, None),
            convolution, convolution, ('x', 'weight'),
        ),
        Pass(
            'pointwise', 'backward', product_gradients,
            lambda t: of_convolution(t, True, True), lambda t: of_convolution(t, True, True), ('grad', 'x', 'weight'),
        ),
        Pass(
            'add', 'to parts', by_name(add_parts.add), by_name(slicing.plain_add), by_name(slicing.plain_add),
            ('parts', 'addends'),
        ),
    ]  # fmt: skip


def by_name(function: Callable, results: int | None = None) -> Callable:
    """The function of a layer's inputs, which have the names of its parameters; None where there is no such input.

    With ``results`` it gives a tuple of its first ones alone.
    """
    names = list(signature(function).parameters)

    def call(t: SimpleNamespace) -> Tensor | tuple[Tensor, ...]:
        found = function(*[getattr(t, name, None) for name in names])
        return as_tuple(found)[:results] if results else found

    return call


def gradients(forward: Callable, leaves: Sequence[str]) -> Callable:
    """A forward pass and the leaves' gradients."""

    def both(t: SimpleNamespace) -> tuple[Tensor, ...]:
        of = [getattr(t, name).requires_grad_() for name in leaves if getattr(t, name) is not None]
        return torch.autograd.grad(forward(t), of, t.grad)

    return both
