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
from mmrazor_bignas.reading import parse_json
from mmrazor_bignas.study.plan import Run

KEYS = {
    'run',
    'kind',
    'of',
    'seed',
    'config',
    'digest',
    'commands',
    'seconds',
    'starts',
    'results',
    'logs_digest',
    'log',
}


def read_records(folder: str | Path) -> dict[str, dict]:
    """All records of a folder, by the name of the run.

    Raises:
        InputError: A file is no record, or has the name of another run.
    """
    records = {}
    for path in sorted(Path(folder).glob('*.json')):
        try:
            record = parse_json(path.read_bytes())
        except InputError as error:
            raise InputError(
                f'{path}: no record of the run {path.stem}: {error}; remove it, and the run is repeated'
            ) from error
        if not isinstance(record, Mapping) or set(record) != KEYS or record['run'] != path.stem:
            raise InputError(f'{path}: no record of the run {path.stem}; remove it, and the run is repeated')
        records[path.stem] = record
    return records


def records_of(folder: str | Path, runs: Mapping[str, Run]) -> dict[str, dict]:
    """The records of a study's runs; those of runs that it has not are left out.

    Raises:
        InputError: A record is of other configs or subnets than its run has now, or a file is no record.
    """
    records = {name: record for name, record in read_records(folder).items() if name in runs}
    for name, record in records.items():
        if record['digest'] != runs[name].digest:
            raise InputError(
                f'{Path(folder) / name}.json is of another config, or of other subnets, than {runs[name].config} has '
                'now; remove it to repeat the run, or name another folder with --records'
            )
    first = next((record['results']['subnets'] for record in records.values() if 'subnets' in record['results']), {})
    for name, record in records.items():
        found = first.get(record['of'])
        if record['kind'] == 'alone' and found not in (None, record['results']['subnet']):
            raise InputError(
                f'{Path(folder) / name}.json is of another subnet than the search found; remove it to repeat the run'
            )
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


def logs_digest(work_dir: Path) -> str:
    """SHA-256 of the log files of a training, one after the other."""
    content = sha256()
    for file in sorted(work_dir.glob('*/*.log')):
        content.update(file.read_bytes())
    return content.hexdigest()
