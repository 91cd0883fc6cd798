"""Progress that is always visible: a bar with the time left on a terminal, lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mmengine.dist import is_main_process
from mmengine.logging import print_log
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

T = TypeVar('T')
LINE_EVERY_SECONDS = 10.0


def on_terminal() -> bool:
    """Whether someone watches: a terminal, and the first process."""
    return is_main_process() and sys.stderr.isatty()


@contextmanager
def logs_above_bars(logger: logging.Logger) -> Iterator[None]:
    """Lets the logger's lines go above tqdm's bars; those of its console alone, not all that it knows."""
    levels = [handler.level for handler in logger.handlers if type(handler) is logging.StreamHandler]
    with logging_redirect_tqdm(loggers=[logger]):
        logger.handlers[-1].setLevel(max(levels, default=logging.INFO))
        yield


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Iterate and show how far it got.

    Args:
        items: What to iterate.
        description: What the items are, e.g. ``evaluate``.
        total: How many there are.
    """
    if on_terminal():
        yield from tqdm(items, description, total, leave=False, dynamic_ncols=True)
        return
    start = shown = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown > LINE_EVERY_SECONDS and done < total and is_main_process():
            shown = now
            left = (now - start) / done * (total - done)
            print_log(f'{description}: {done}/{total}, {left:.0f} s left', logger='current')
