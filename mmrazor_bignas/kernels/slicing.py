"""Slices of a supernet's weights: cast once a step, their gradients added where they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.autograd import Function, Variable

from mmrazor_bignas.kernels.operation import Kernel

Shape = Sequence[int]


def slice_param(param: Tensor, shape: Shape) -> Tensor:
    """The part of a large tensor that a smaller network uses: the first channels, the centre of the kernel.

    The forward pass runs subnets with it and export cuts weights with it, so that what was searched is what is
    exported. When the part is the whole, the very same tensor is returned.

    Args:
        param: Tensor of at most 4 dimensions: (out, in, k, k), (out, in) or (channels,).
        shape: The wanted shape, no side larger than ``param``'s.

    Raises:
        ValueError: A side is larger.
    """
    if param.shape == tuple(shape):
        return param
    surplus = [whole - part for whole, part in zip(param.shape, shape, strict=True)]
    if min(surplus) < 0:
        raise ValueError(f'a slice of shape {tuple(shape)} of a tensor of shape {tuple(param.shape)}')
    starts = [0, 0, *(more // 2 for more in surplus[2:])][: len(surplus)]
    if param.requires_grad and torch.is_grad_enabled():
        for dim, (start, size) in enumerate(zip(starts, shape, strict=True)):
            if size != param.shape[dim]:
                param = param.narrow(dim, start, size)
        return param
    # The same as one view: a step takes thousands of them.
    strides = param.stride()
    offset = sum(start * stride for start, stride in zip(starts, strides, strict=True))
    return param.as_strided(shape, strides, param.storage_offset() + offset)


def slices(*parts: tuple[Tensor, Shape], cast: bool = False) -> tuple[Tensor, ...]:
    """:func:`slice_param` of every (parameter, shape), for a layer's forward pass.

    Within :meth:`StepWeights.one_pass` their gradients are added straight to those parts of the parameters' gradients
    that they belong to.

    Args:
        *parts: Parameters and the shapes wanted of them.
        cast: Whether the layer runs in autocast's format; within a step the parameters are then cast once for all
            subnets.
    """
    step = None if torch.compiler.is_compiling() else _step.get()
    if step is None:
        return tuple(slice_param(*part) for part in parts)
    weights, exchanged = step
    device = parts[0][0].device.type
    dtype = torch.get_autocast_dtype(device) if cast and torch.is_autocast_enabled(device) else None
    if exchanged:
        params, shapes = zip(*parts, strict=True)
        return _Slices.apply(weights, dtype, shapes, *params)
    return tuple(weights.slice(param, shape, dtype) for param, shape in parts)


class StepWeights:
    """The weights of a supernet in one training step of several subnets.

    torch's own slices would make zeros of a parameter's size for each gradient, copy the gradient into them and add
    them, once per subnet and sliced dimension; and autocast would cast every slice anew.

    Args:
        parameters: Of the supernet. They must not change as long as this is used.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._params = list(parameters)
        self._copies: dict[Tensor, Tensor] = {}
        self._slices: list[tuple[nn.Parameter, Shape, Tensor]] = []

    @contextmanager
    def one_pass(self, exchanged: bool) -> Iterator[None]:
        """Within, :func:`slices` takes them from here.

        Args:
            exchanged: Whether a distributed wrapper exchanges a parameter's gradient as soon as it is there; else all
                are added at the end of the backward pass, together: :meth:`add_gradients_of`.
        """
        token = _step.set((self, exchanged))
        try:
            yield
        finally:
            _step.reset(token)

    def add_gradients_of(self, loss: Tensor) -> None:
        """At the end of the loss's backward pass, add the gradients of the slices that were taken for it.

        Args:
            loss: Of the pass that has just been run, which must not have been ``exchanged``.
        """
        taken, self._slices = self._slices, []

        def add() -> None:
            grads = [(param, shape, part.grad) for param, shape, part in taken if part.grad is not None]
            for _, _, part in taken:
                part.grad = None  # which the loss would keep
            add_gradients(grads, add_together)

        if taken:  # the hook runs as the backward pass begins, the callback as it ends
            loss.register_hook(lambda _: Variable._execution_engine.queue_callback(add))

    def in_format(self, param: nn.Parameter, dtype: torch.dtype | None) -> Tensor:
        """The parameter, or the step's copy of it in another format, which has no gradient."""
        if dtype is None or dtype == param.dtype:
            return param
        if param not in self._copies:
            self._copies = {one: torch.empty_like(one, dtype=dtype) for one in self._params}
            with torch.no_grad():
                torch._foreach_copy_(list(self._copies.values()), self._params)
        return self._copies[param]

    def slice(self, param: nn.Parameter, shape: Shape, dtype: torch.dtype | None) -> Tensor:
        """A slice for a pass that is not exchanged: autograd's leaf, for which it calls no Python."""
        part = slice_param(self.in_format(param, dtype).detach(), shape)
        if param.requires_grad and torch.is_grad_enabled():
            self._slices.append((param, shape, part.requires_grad_()))
        return part


_step: ContextVar[tuple[StepWeights, bool] | None] = ContextVar('step_weights', default=None)


class _Slices(Function):
    """Slices of parameters. The gradients go to their parts at once; autograd gets none, but still visits them."""

    @staticmethod
    def forward(ctx, weights: StepWeights, dtype: torch.dtype | None, shapes: Sequence[Shape], *params):
        ctx.set_materialize_grads(False)
        ctx.shapes, ctx.params = shapes, params  # attributes, as nothing of their values is needed
        return tuple(
            slice_param(weights.in_format(param, dtype), shape) for param, shape in zip(params, shapes, strict=True)
        )

    @staticmethod
    def backward(ctx, *grads: Tensor | None) -> tuple[None, ...]:
        for param, shape, grad in zip(ctx.params, ctx.shapes, grads, strict=True):
            if grad is not None and param.requires_grad:
                add_gradients([(param, shape, grad)], plain_add)
        return (None,) * (3 + len(grads))


def plain_add(parts: Sequence[Tensor], addends: Sequence[Tensor]) -> tuple[Tensor, ...]:
    for part, addend in zip(parts, addends, strict=True):
        part.add_(addend)
    return tuple(parts)


_ADD = Kernel('add_parts.add', plain_add, in_place=True)


def add_together(parts: Sequence[Tensor], addends: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """On a GPU by one kernel for each format; no two parts may overlap."""
    return _ADD(tuple(dict.fromkeys(addend.dtype for addend in addends)), parts, addends)


@torch.no_grad()
def add_gradients(
    gradients: Iterable[tuple[nn.Parameter, Shape, Tensor]],
    add: Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, ...]],
) -> None:
    """Add gradients of parts of parameters; a parameter without a gradient gets one.

    Args:
        gradients: Parameters, the shapes of their parts, and the gradients of these.
        add: Adds tensors to parts of larger ones, in place: :func:`plain_add` or :func:`add_together`.
    """
    rest = []
    for param, shape, grad in gradients:
        same = grad.shape == param.shape and grad.dtype == param.dtype and grad.stride() == param.stride()
        if same and param.grad is None:
            param.grad = grad  # of a layer's backward pass, which keeps no other use of it
        else:
            rest.append((param, shape, grad))
    new_gradients(dict.fromkeys(param for param, _, _ in rest if param.grad is None))
    while rest:
        now, later, seen = [], [], set()
        for one in rest:  # parts of one parameter may overlap, and are added one after the other
            (later if one[0] in seen else now).append(one)
            seen.add(one[0])
        add([slice_param(param.grad, shape) for param, shape, _ in now], [grad for _, _, grad in now])
        rest = later


def new_gradients(params: Iterable[nn.Parameter]) -> None:
    """Gradients of 0, in one piece of memory."""
    params = list(params)
    if params:
        flat = params[0].new_zeros(sum(param.numel() for param in params))
        for param, part in zip(params, flat.split([param.numel() for param in params]), strict=True):
            param.grad = part.as_strided(param.shape, param.stride())
