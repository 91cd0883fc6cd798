"""Runs a script as two gloo processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tiny_imagenet import ROOT


def run_two_ranks(*words) -> list[str]:
    """What each printed; both must end well."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    env = {**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}', 'OMP_NUM_THREADS': '1', 'MASTER_ADDR': '127.0.0.1'}
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, words)],
            env={**env, 'MASTER_PORT': str(port), 'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2'},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = []
    for process in processes:
        out, error = process.communicate(timeout=200)
        assert process.returncode == 0, error[-3000:]
        printed.append(out)
    return printed
