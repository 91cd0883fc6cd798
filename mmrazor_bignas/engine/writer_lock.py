"""A folder has one writer: a lock of the kernel's, which ends with its holder, however that ends.

``flock``, not ``lockf``: commands that are to hold it with their parent inherit it, another thread of the process is
refused, too, and it does not end where the process opens and closes the file once more. What is only forked, such as a
data loader's worker, closes it at once, and does not keep it for a process that was killed. Over NFS the server knows
the lock: it counts on all nodes, and ends with a node that is lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mmrazor_bignas.engine.distributed import on_first_rank
from mmrazor_bignas.errors import InputError

NAME = '.lock'  # stays where it is: to remove it could let a third process in beside a second
PATIENCE_SECONDS = 120.0  # with an earlier start of the same job; an NFS server forgets a lost node after 90
_held: set[int] = set()


def _let_go() -> None:
    """In a process that was forked and is no writer."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


class WriterLock(NamedTuple):
    """What its holder has."""

    descriptor: int  # a command that inherits it holds the lock as long as it runs
    notes: list[str]  # for the log


@contextmanager
def one_writer(folder: str | os.PathLike) -> Iterator[WriterLock]:
    """Inside, no other process that asks writes into a folder, which is made if need be.

    All ranks call it; the first one holds the lock, and all fail together. A later start of a SLURM job waits for the
    end of an earlier one; whoever else comes second is refused at once, and has changed nothing in the folder.

    Raises:
        InputError: Another process has the folder, or it cannot be written.
    """
    folder = Path(folder)
    with ExitStack() as stack:
        yield on_first_rank(lambda: stack.enter_context(_lock(folder)))


@contextmanager
def _lock(folder: Path) -> Iterator[WriterLock]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f'--work-dir {folder}: cannot be written: {error.strerror}') from error
    _held.add(descriptor)
    try:
        notes = _wait(folder, descriptor)
        _write_holder(descriptor)
        yield WriterLock(descriptor, notes)
    finally:
        if descriptor in _held:  # else this is a forked process
            _held.remove(descriptor)
            os.close(descriptor)


def _wait(folder: Path, descriptor: int) -> list[str]:
    """Take the lock; where the file system has none, says so."""
    deadline, waited = time.monotonic() + PATIENCE_SECONDS, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return []
        except (BlockingIOError, PermissionError) as error:  # the second is what a network file system may say
            holder = _holder(descriptor)
            if not _is_earlier_start(holder) or time.monotonic() > deadline:
                raise InputError(
                    f'--work-dir {folder}: {_description(holder)}, or what it started, writes here; wait until it '
                    'has ended, or choose another folder'
                ) from error
        except OSError as error:
            return [
                f'{folder}: this file system has no locks ({error.strerror}): nothing keeps another process from '
                'writing here, too'
            ]
        if not waited:
            print(f'{folder}: waiting for {_description(holder)}, an earlier start of this job, to end', flush=True)
            waited = True
        time.sleep(0.5)


def _write_holder(descriptor: int) -> None:
    """Say who has the lock. That the disk is full, others find out, and say better."""
    holder = {
        'host': socket.gethostname(),
        'pid': os.getpid(),
        'since': datetime.now().astimezone().isoformat(sep=' ', timespec='seconds'),
        'job': os.environ.get('SLURM_JOB_ID'),
        'restarts': _restarts(),
    }
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode() + b'\n', 0)
        os.fsync(descriptor)  # for readers on other nodes


def _holder(descriptor: int) -> Mapping:
    """Who has the lock, as far as the file says."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):  # about to be written
        return {}
    return holder if isinstance(holder, dict) else {}


def _description(holder: Mapping) -> str:
    if not {'host', 'pid', 'since'} <= set(holder):
        return 'another process'
    job = f', SLURM job {holder["job"]}' if holder.get('job') else ''
    return f'process {holder["pid"]} on {holder["host"]}{job} (since {holder["since"]})'


def _restarts() -> int:
    return int(os.environ.get('SLURM_RESTART_COUNT', 0))


def _is_earlier_start(holder: Mapping) -> bool:
    """Whether the holder is of this SLURM job before its last requeue, and thus about to end or on a lost node."""
    job, restarts = os.environ.get('SLURM_JOB_ID'), holder.get('restarts')
    return bool(job) and holder.get('job') == job and type(restarts) is int and restarts < _restarts()
