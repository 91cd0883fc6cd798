"""From a tool's ``main`` to an exit code: what went wrong is said once, whatever number of processes it befell."""

from __future__ import annotations

import argparse
import atexit
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import torch.distributed as dist

from mmrazor_bignas.engine.allocator import keep_freed_memory
from mmrazor_bignas.engine.distributed import RANKS, first_to_fail, lost_contact, start_processes, stop_processes
from mmrazor_bignas.engine.precision import products_as_convolutions
from mmrazor_bignas.engine.signals import Stopped, plain_interrupts, raised_signals
from mmrazor_bignas.errors import InputError, UserError

_IN_WORKER = re.compile(r'Caught \w+ in DataLoader worker')
PATIENCE_SECONDS = 5.0  # in which srun --kill-on-bad-exit=1 or torchrun ends this process


def tool_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A tool's parser, without arguments yet. Its help ends with the example: words that follow the tool's name."""
    return argparse.ArgumentParser(
        description=description,
        epilog=f'example: %(prog)s {example}'.rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # breaks no line of the example
    )


@plain_interrupts()
def run_tool(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse, join the other processes and run.

    What the user can mend becomes one message and exit code 1; a signal, 128 + its number after a message.
    """
    speaks = is_first_process(sys.argv, os.environ)
    if not speaks:  # all processes have the same command line
        parser._print_message = lambda *_: None
    try:
        args = parser.parse_args()
    except InputError as error:
        sys.exit(f'{parser.prog}: error: {error}' if speaks else 1)
    if getattr(args, 'local_rank', None) is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    store = None
    try:
        with raised_signals():
            keep_freed_memory()
            products_as_convolutions()
            store = start_processes(getattr(args, 'launcher', 'none'))
            main(args)
        if store is not None:
            stop_processes()
            # As at a normal end. The interpreter's own last steps can abort a process that had a gloo group.
            atexit._run_exitfuncs()
            leave(0)
    except Stopped as stop:
        leave(128 + stop.signum, f'{parser.prog}: {stop}' if speaks else None)
    except Exception as error:
        message = message_of(error)
        if message is not None:
            message = f'{parser.prog}: error: {message}'
        if store is not None:
            fail(error, message, store)
        if message is None:
            raise
        sys.exit(message)


def is_first_process(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether this process is the first that a launcher started, or the only one; known before anything is parsed."""
    line = ' '.join(words).replace('=', ' ')
    return all(environ.get(name, '0') == '0' for launcher, name in RANKS.items() if f'--launcher {launcher}' in line)


def message_of(error: Exception) -> str | None:
    """What to tell the user in the place of a traceback; None for a fault of the program."""
    if isinstance(error, UserError) and not _IN_WORKER.match(str(error)):
        return str(error)
    if isinstance(error, (UserError, OSError)):  # of a data loader's worker, the last line says what it was
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        return last.removeprefix(f'{type(error).__module__}.{type(error).__qualname__}: ')
    # What Python and mmengine say of a component's unknown key and of an unknown component.
    words = ('unexpected keyword argument', 'required', 'registry')
    if isinstance(error, (TypeError, KeyError)) and any(word in str(error) for word in words):
        return f'the config does not fit: {" ".join(str(error).split())}'
    return None


def fail(error: Exception, message: str | None, store: dist.Store) -> NoReturn:
    """Leave as one of several processes: the first to fail says why, and the launcher then ends the others."""
    trace = ''.join(traceback.format_exception(error))  # takes time, in which the others must not leave
    try:
        first = first_to_fail(store)
    except RuntimeError:  # the first rank is gone: it said why, unless it was killed
        time.sleep(PATIENCE_SECONDS)
        first = True
    if first and message is None and lost_contact(error):
        time.sleep(PATIENCE_SECONDS)
        message = f'lost contact with another process, which may have been killed: {error}'
    if first:
        leave(1, message or trace)
    time.sleep(PATIENCE_SECONDS)
    leave(1)


def leave(code: int, message: str | None = None) -> NoReturn:
    """End the process at once: other ranks may be gone, and a graceful end would wait for them."""
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
