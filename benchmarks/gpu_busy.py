"""How much of a run's time a GPU is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile


def profiled_run(run: Callable[[], object]) -> tuple[profile, list, float]:
    """The profile of a run, what the GPU did (kernels and copies), and the run's seconds.

    The profiler looks at the GPU alone, so that it slows down the program little.
    """
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        start = perf_counter()
        run()
        torch.cuda.synchronize()
        seconds = perf_counter() - start
    events = [
        event
        for event in profiled.profiler.kineto_results.events()
        if event.device_type() == torch.autograd.DeviceType.CUDA and not event.is_user_annotation()
    ]
    return profiled, events, seconds


def busy_share(run: Callable[[], object]) -> float:
    """The share of a run's time in which the GPU runs a kernel or copies."""
    _, events, seconds = profiled_run(run)
    return share_of(events, seconds)


def share_of(events: Iterable, seconds: float) -> float:
    """The share of so many seconds that events of a GPU cover."""
    return covered((event.start_ns(), event.end_ns()) for event in events) / 1e9 / seconds


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """The length that spans (begin, end) cover together; where they overlap, it counts once."""
    total = covered_to = 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, covered_to))
        covered_to = max(covered_to, end)
    return total
