"""Random draws as functions of where they happen: nothing to save, nothing to restore, the same after a resume."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_generators(*place: object) -> None:
    """Seed the generators of Python, numpy and torch (every device) with a place, e.g. (seed, step, rank)."""
    torch.manual_seed(seed_cpu(*place))


@contextmanager
def kept_generators() -> Iterator[None]:
    """Within, draws on the CPU may be seeded (:func:`seed_cpu`); outside, its generators are left as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def seed_cpu(*place: object) -> int:
    """Seed the CPU's generators of Python, numpy and torch with a place; the number they were given."""
    seed = random.Random('/'.join(map(str, place))).getrandbits(32)
    random.seed(seed)
    np.random.seed(seed)
    # torch.manual_seed is for GPUs too: where none is in use it keeps a stack trace, which takes longer than an image.
    torch.default_generator.manual_seed(seed)
    return seed
