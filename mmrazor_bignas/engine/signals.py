"""What asks a process to leave: a cluster before it takes a node, by SIGTERM or SIGUSR1, or a user, by Ctrl-C."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mmengine.dist import is_main_process

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
INTERRUPTED = b'\ninterrupted; saving at the next step, then leaving; press Ctrl-C again to leave at once\n'


def _end_workers() -> None:
    """At the exit: multiprocessing would ask workers to leave by a signal that they outlive, and wait for them."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call it an error
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


atexit.register(_end_workers)


class Stopped(BaseException):
    """A signal asks this process to leave. Like KeyboardInterrupt it is nothing that ``except Exception`` handles.

    Args:
        signum: The signal.
        saved: What was saved on the way out.
    """

    def __init__(self, signum: int, saved: str = '') -> None:
        super().__init__(f'stopped by {signal.Signals(signum).name}' + (f'; saved {saved}' if saved else ''))
        self.signum = signum


@contextmanager
def raised_signals() -> Iterator[None]:
    """Inside, a signal raises :class:`Stopped` where it finds the program."""

    def leave(signum: int, _frame: object) -> None:
        raise Stopped(signum)

    with _handler(leave):
        yield


@contextmanager
def recorded_signals() -> Iterator[list[int]]:
    """Inside, signals are only recorded, in the list: whoever reads it chooses a good moment to leave.

    Raises:
        Stopped: At the end, for a signal that nobody took out of the list.
    """
    received: list[int] = []

    def record(signum: int, _frame: object) -> None:
        received.append(signum)
        if signum == signal.SIGINT and is_main_process():
            with suppress(OSError):
                os.write(2, INTERRUPTED)  # print may be what was interrupted

    with _handler(record):
        yield received
    if received:
        raise Stopped(received[0])


@contextmanager
def plain_interrupts() -> Iterator[None]:
    """Inside, but for where it is handled, Ctrl-C ends the process at once, with no traceback."""
    python = signal.getsignal(signal.SIGINT) == signal.default_int_handler
    if python:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if python:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _handler(handle: Callable[[int, object], object]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
        yield
        return
    owner = os.getpid()

    def handle_here(signum: int, frame: object) -> None:
        if os.getpid() != owner:  # a worker that is just being forked has this handler, too
            return
        if signum == signal.SIGINT:
            signal.signal(signum, signal.SIG_DFL)  # a second one ends the process, whatever it is waiting for
        handle(signum, frame)

    # A shell lets what a script runs in the background ignore the terminal's Ctrl-C.
    heard = [s for s in STOP_SIGNALS if s != signal.SIGINT or signal.getsignal(s) != signal.SIG_IGN]
    previous = {signum: signal.signal(signum, handle_here) for signum in heard}
    try:
        yield
    finally:
        for signum, earlier in previous.items():
            signal.signal(signum, earlier)


def outlive_signals(worker_id: int) -> None:
    """For DataLoader's ``worker_init_fn``: workers are signalled, too, and the parent needs them until it leaves.

    torch's workers notice by themselves when their parent is gone.
    """
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
