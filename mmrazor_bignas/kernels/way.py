"""Which way the operations of a network go: through this package's kernels, or torch's."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmrazor_bignas.errors import InputError

VARIABLE = 'MMRAZOR_BIGNAS_KERNELS'
WAYS = {
    'fused': "this package's Triton kernels where a GPU trains, channels_last",
    'torch': "torch's operations, channels_last",
    'nchw': "torch's operations, contiguous",
}
OLDEST_CARD = (8, 0)  # compute capability; bfloat16 begins there
# Triton's interpreter runs kernels on CPU tensors, far too slowly for anything but tests.
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'


# At most one, made before anything is compiled: torch.compile reads it, and could not follow how it is made.
_choice: list[str] = []


def chosen_way() -> str:
    """The way of this process, one of :data:`WAYS`: what MMRAZOR_BIGNAS_KERNELS says, else the fastest that works.

    Without a GPU nothing is fused, unless the variable asks for it and Triton interprets its kernels.

    Raises:
        InputError: The variable has another value.
    """
    if not _choice:
        _choice.append(_choose())
    return _choice[0]


def forget_choice() -> None:
    """Choose anew at the next call, as what changes the variable within a process needs it."""
    _choice.clear()


def _choose() -> str:
    wish = os.environ.get(VARIABLE)
    if wish and wish not in WAYS:
        known = ', '.join(f'{name} ({meaning})' for name, meaning in WAYS.items())
        raise InputError(f'{VARIABLE} is {wish!r}; expected one of: {known}')
    if wish in ('torch', 'nchw'):
        return wish
    if not torch.cuda.is_available():
        return 'fused' if wish and INTERPRETED else 'torch'
    if reason := obstacle():
        print_log(
            f"{reason}: networks run on torch's operations in the contiguous layout ({VARIABLE}=nchw), which is slower",
            logger='current',
            level=logging.WARNING,
        )
        return 'nchw'  # torch's kernels for channels_last are compiled anew for every size
    return 'fused'


def obstacle() -> str | None:
    """Why this package's kernels cannot run on the GPU in use; None where they can."""
    if find_spec('triton') is None:
        return 'Triton is not installed'
    capability = torch.cuda.get_device_capability()
    if capability < OLDEST_CARD:
        name, oldest = torch.cuda.get_device_name(), '.'.join(map(str, OLDEST_CARD))
        return f'{name} has compute capability {capability[0]}.{capability[1]}, below {oldest}'
    return None


def memory_format() -> torch.memory_format:
    """The layout of images, features and weights."""
    return torch.contiguous_format if chosen_way() == 'nchw' else torch.channels_last


def is_fused(x: Tensor) -> bool:
    """Whether a training's operation on these features (N, C, H, W) is one of this package's kernels.

    Inference, calibration and exported graphs are torch's own operations.
    """
    return runs_kernels(x) and torch.is_grad_enabled()


def runs_kernels(x: Tensor) -> bool:
    """Whether this process runs kernels where this tensor is; a traced graph holds torch's own operations."""
    return (x.is_cuda or INTERPRETED) and chosen_way() == 'fused' and not torch.jit.is_tracing()
