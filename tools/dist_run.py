"""torchrun, with its words and options; where a process fails, that process has said why, and no traceback follows."""

import os
import sys

from torch.distributed import DistNetworkError
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == '__main__':
    os.environ.setdefault('TORCHELASTIC_SIGNALS_TO_HANDLE', 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1')
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
