"""Records: what a finished run leaves, one JSON file each. Results are written from nothing else."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch

from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError


def read_records(folder: str | Path) -> dict[str, dict]:
    """All records of a folder, by the name of the run.

    Raises:
        InputError: A file is no record.
    """
    records = {}
    for path in sorted(Path(folder).glob('*.json')):
        try:
            record = json.loads(path.read_text(encoding='utf-8'))
            records[record['run']] = record
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f'{path}: no record of a run; remove it, and the run is repeated') from error
    return records


def write_record(folder: str | Path, record: Mapping) -> None:
    """Keep the record of a finished run."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    content = json.dumps(record, indent=1).encode()
    write_atomically(Path(folder) / f'{record["run"]}.json', lambda file: file.write(content))


def surroundings(root: Path) -> dict[str, str | int | bool]:
    """Commit of the code and the machine: what a result may depend on beside its config and seed."""

    def git(*words: str) -> str:
        done = subprocess.run(['git', *words], cwd=root, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ''

    code = ('mmrazor_bignas', 'configs', 'tools')
    return {
        'commit': git('rev-parse', 'HEAD') or 'unknown',
        'changed': bool(git('status', '--porcelain', '--untracked-files=no', '--', *code)),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'device': torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(),
    }


def cpu_name() -> str:
    """What the system calls the processor, with its instructions for vectors."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        name = next(line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f'{name}, {torch.backends.cpu.get_cpu_capability()}'


def digest(*files: Path) -> str:
    """SHA-256 of files, one after the other."""
    content = sha256()
    for file in files:
        content.update(file.read_bytes())
    return content.hexdigest()


def logged(work_dir: Path) -> tuple[list[dict], str]:
    """What a training logged, in all its starts, and the digest of its log files.

    Returns:
        Lines of mmengine's ``scalars.json``: losses and learning rate every few iterations, metrics of validations.
    """
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return lines, digest(*sorted(work_dir.glob('*/*.log')))
