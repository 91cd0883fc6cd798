"""From a kernel to an operation of torch: registered, checked at its first use, and replaced where it does not do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from importlib import import_module

import torch
from mmengine.logging import print_log
from torch import Tensor
from torch.autograd import Function

from mmrazor_bignas.kernels.way import runs_kernels

# Formats that the kernels take, and by how much, relative to its norm, a result may differ from the plain twin's.
TOLERANCES = {torch.float32: 0.01, torch.bfloat16: 0.05, torch.float16: 0.05}
LIBRARY = torch.library.Library('mmrazor_bignas', 'DEF')

Result = Tensor | tuple[Tensor, ...]


class Kernel:
    """A function of ``triton_code``, or its plain twin in its place.

    The first result of every variant is compared with the twin's. A variant that does not compile, or gives numbers
    that are not finite or far from the twin's, is replaced by the twin for the rest of the process, and the log says
    so.

    Args:
        name: ``module.function`` within ``triton_code``.
        twin: The same in plain torch, for any device and format.
        in_place: Whether the result is the first argument, changed.
    """

    def __init__(self, name: str, twin: Callable[..., Result], in_place: bool = False) -> None:
        self.name, self.twin, self.in_place = name, twin, in_place
        self._variants: dict[Hashable, Callable[..., Result]] = {}

    def __call__(self, variant: Hashable, x: Result, *others) -> Result:
        """The function's result.

        Args:
            variant: What a kernel is compiled for, besides the format of ``x``.
            x: The function's first argument, a tensor or several; says on which device and in which format it runs.
            *others: The rest of them.
        """
        first = x if isinstance(x, Tensor) else x[0]
        if first.dtype not in TOLERANCES or not runs_kernels(first):
            return self.twin(x, *others)
        if first.is_cuda and first.device.index != torch.cuda.current_device():
            with torch.cuda.device(first.device):  # where kernels are launched
                return self(variant, x, *others)
        key = (first.dtype, variant)
        if key not in self._variants:
            return self._first(key, x, *others)
        return self._variants[key](x, *others)

    def load(self) -> Callable[..., Result]:
        """The function of ``triton_code``."""
        module, function = self.name.split('.')
        return getattr(import_module(f'mmrazor_bignas.kernels.triton_code.{module}'), function)

    def _first(self, key: tuple, x: Result, *others) -> Result:
        kept = tuple(one.clone() for one in x) if self.in_place else x
        expected, result = self.twin(kept, *others), None
        try:
            fused = self.load()
            result = fused(x, *others)
            fault = difference(result, expected, TOLERANCES[key[0]])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of a compiler, a driver or a launch
            fault = f'{type(error).__name__}: {(str(error).strip() or "no message").splitlines()[-1]}'
        if fault is None:
            # Zeros, as many gradients of a training's first step are, prove nothing; nor does what overflowed.
            proof = [bool(one.any()) and bool(one.isfinite().all()) for one in as_tuple(expected)]
            if any(proof) if self.in_place else all(proof):
                self._variants[key] = fused
            return result
        self._variants[key] = self.twin
        print_log(
            f"the kernel {self.name} {key} is not used, torch's operations take its place: {fault}",
            logger='current',
            level=logging.WARNING,
        )
        if self.in_place:
            for ours, right in zip(x, expected, strict=True):
                ours.copy_(right)
            return x
        return expected


def difference(result: Result, expected: Result, tolerance: float) -> str | None:
    """What is wrong with a kernel's result; None where nothing is."""
    for ours, theirs in zip(as_tuple(result), as_tuple(expected), strict=True):
        ours, theirs = ours.float(), theirs.float()
        norm, error = float(theirs.norm()), float((ours - theirs).norm())
        if norm < float('inf') and not error <= tolerance * norm + 1e-6 * theirs.numel() ** 0.5:
            return f'its result differs by {error:.3g} where the norm is {norm:.3g}'
    return None


def aligned(x: Tensor) -> Tensor:
    """The features in channels_last, beginning at a multiple of 16 bytes; a copy where they are not so already."""
    x = x.contiguous(memory_format=torch.channels_last)
    return x.clone() if x.data_ptr() % 16 else x


def widened(x: Tensor) -> Tensor:
    """In float32, as kernels compute; what is float64 stays so."""
    return x if x.dtype == torch.float64 else x.float()


def as_tuple(result: Result) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else result


def define(
    schema: str,
    run: Callable[..., Result],
    fake: Callable[..., Result],
    autocast: Callable[..., Result] | None = None,
    gradient: tuple[Callable, Callable] | None = None,
) -> Callable[..., Result]:
    """Register an operation ``mmrazor_bignas::<name>`` of torch.

    Args:
        schema: Name, arguments and results in torch's notation.
        run: What it does, on a CPU or a GPU.
        fake: Its results' shapes, for torch.compile and torch.export.
        autocast: Under autocast, runs in its place and calls it with arguments cast as it should be.
        gradient: Two functions, as torch.library.register_autograd takes them: ``remember(ctx, inputs, output)``, and
            ``gradients(ctx, *grads)``.

    Returns:
        The operation.
    """
    name = schema.split('(')[0]
    LIBRARY.define(schema)
    operation = getattr(torch.ops.mmrazor_bignas, name).default
    for device in ('CPU', 'CUDA'):
        LIBRARY.impl(name, run, device)
        if autocast:
            LIBRARY.impl(name, without_autocast(autocast), f'Autocast{device}')
    torch.library.register_fake(f'mmrazor_bignas::{name}', fake, lib=LIBRARY)
    if gradient:
        LIBRARY.impl(name, differentiable(operation, *gradient), 'Autograd')
    return operation


def differentiable(operation: Callable[..., Result], remember: Callable, gradients: Callable) -> Callable[..., Result]:
    """What torch.library.register_autograd makes, without what it does for arguments that are lists or keywords."""

    class Differentiable(Function):
        @staticmethod
        def forward(ctx, *inputs) -> Result:
            with torch._C._AutoDispatchBelowAutograd():
                output = operation(*inputs)
            remember(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx, *grads: Tensor | None) -> tuple:
            if grads[0] is None:  # nothing that follows has a gradient
                return (None,) * len(ctx.needs_input_grad)
            return gradients(ctx, *grads)

    def run(*inputs) -> Result:
        return Differentiable.apply(*inputs)

    return run


AUTOCAST_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU) | torch._C.DispatchKeySet(
    torch._C.DispatchKey.AutocastCUDA
)


def without_autocast(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function with autocast off, as torch's own rules of autocast run."""

    def run(x: Tensor, *others) -> Result:
        dtype = torch.get_autocast_dtype(x.device.type)
        with torch._C._ExcludeDispatchKeyGuard(AUTOCAST_KEYS):
            return function(dtype, x, *others)

    return run
