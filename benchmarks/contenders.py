"""Contenders of a comparison: each in a process of its own, one at work at a time."""

from __future__ import annotations

import atexit
import multiprocessing
from collections.abc import Callable
from statistics import median
from typing import Any


class Contender:
    """A process that builds what it measures, then measures when it is told to.

    Args:
        build: Function at the top level of a module; gives a function that measures once.
        *args: Of ``build``.
    """

    def __init__(self, build: Callable[..., Callable[..., Any]], *args) -> None:
        self._here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context('spawn')
        # No daemon, which could not have the workers of a data loader; it ends when the pipe is closed.
        self._process = context.Process(target=_serve, args=(there, build, args))
        self._process.start()
        atexit.register(self._here.close)
        there.close()
        self._here.recv()  # it is built

    def measure(self, *args) -> Any:
        """What one measurement gives.

        Args:
            *args: Of the function that measures.
        """
        self._here.send(args)
        return self._here.recv()

    def stop(self) -> None:
        """End the process, and free what it holds."""
        self._here.close()
        self._process.join()


def _serve(pipe, build: Callable[..., Callable[..., Any]], args: tuple) -> None:
    measure = build(*args)
    pipe.send('built')
    while True:
        try:
            args = pipe.recv()
        except EOFError:
            return
        pipe.send(measure(*args))


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios, pair by pair: what slows both down does not count."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))
