"""torchrun, with its words and options; where a process fails, that process has said why, and no traceback follows.

The processes have no terminal: torchrun passes a first Ctrl-C on to them, and would make a SIGTERM of a second one.
"""

import os
import signal
import sys
from pathlib import Path

from torch.distributed import DistNetworkError
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def interrupt(signum: int, _frame: object) -> None:
    """At a first Ctrl-C: torchrun passes it on and waits until the processes have saved."""
    signal.signal(signum, interrupt_again)
    raise SignalException('interrupted', signal.Signals(signum))


def interrupt_again(signum: int, _frame: object) -> None:
    """While it waits: the processes, each of which leads a group, leave at once."""
    me = os.getpid()
    for child in Path(f'/proc/{me}/task/{me}/children').read_text().split():
        if os.getpgid(int(child)) == int(child):
            os.killpg(int(child), signum)


if __name__ == '__main__':
    for name in ('PET_SIGNALS_TO_HANDLE', 'TORCHELASTIC_SIGNALS_TO_HANDLE'):  # of new torch, and of older ones
        os.environ.setdefault(name, 'SIGTERM,SIGHUP,SIGQUIT,SIGUSR1')
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    try:
        main()
    except SignalException as stop:
        sys.exit(128 + stop.sigval)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        sys.exit(code if code > 0 else 128 - code)  # a signal, as a shell counts it
    except DistNetworkError as error:
        problem = str(error).splitlines()[0]
        sys.exit(f'torchrun: error: {problem} Another run may have the port: set PORT to a free one.')
