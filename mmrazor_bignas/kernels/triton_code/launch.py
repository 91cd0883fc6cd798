"""Launching a kernel without Triton's work of finding the compiled one, which takes longer than most kernels."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

_COMPILED: dict[Hashable, object] = {}


def launch(function, grid: Sequence[int], tensors: Sequence[Tensor], numbers: Sequence[float], warps: int, **constants):
    """Run a kernel whose arguments are tensors, then run-time numbers, then constants.

    A kernel is compiled for the tensors' formats and the constants alone. It must not specialise on a number or on an
    address: ``do_not_specialize``, and tensors that begin at a multiple of 16 bytes or are named in
    ``do_not_specialize_on_alignment``.

    Args:
        function: The kernel.
        grid: How many programs, along up to 3 axes.
        tensors: Its first arguments, all on one device.
        numbers: Those that follow.
        warps: Of a program.
        **constants: The rest, in the function's order.
    """
    # By its id: Triton hashes a function by its source.
    key = (id(function), tensors[0].device, warps, *[tensor.dtype for tensor in tensors], *constants.values())
    if compiled := _COMPILED.get(key):
        try:
            compiled[(*grid, 1, 1)](*tensors, *numbers, *constants.values())
            return
        except TypeError:  # of a Triton before 3.3, whose compiled kernels take no constants
            _COMPILED[key] = False
    compiled = function[grid](*tensors, *numbers, **constants, num_warps=warps)
    _COMPILED.setdefault(key, compiled)  # None where Triton interprets
