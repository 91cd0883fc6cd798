"""Random draws as functions of where they happen: nothing to save, nothing to restore, the same after a resume."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_generators(*place: object) -> None:
    """Seed the generators of Python, numpy and torch (every device) with a place, e.g. (seed, step, rank)."""
    seed = random.Random('/'.join(map(str, place))).getrandbits(32)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(*place: object) -> Iterator[None]:
    """Draw as :func:`seed_generators` says; outside, the CPU generators are left as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_generators(*place)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
