"""Runs of a study, side by side; a finished one is never repeated, a killed one goes on from its last checkpoint."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from mmrazor_bignas.engine.cfg_options import write_value
from mmrazor_bignas.engine.learning_curve import read_training_log
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.engine.writer_lock import one_writer
from mmrazor_bignas.errors import InputError, UserError
from mmrazor_bignas.reading import parse_json
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.study.collecting import collect, found_subnets
from mmrazor_bignas.study.plan import Run, Study
from mmrazor_bignas.study.records import logs_digest, read_records, records_of, surroundings, write_record

LOG, STARTS = 'study.log', 'starts.json'
LAST_LINES = 12
BIGNAS = ('-m', 'mmrazor_bignas')


class RunFailed(UserError):
    """A command of a run ended with an error."""


class StudyRunner:
    """Does the runs of a study that have no record yet.

    Args:
        study: The study.
        work_dir: Where trainings log and save.
        records: Where the records of finished runs are kept.
        root: The folder in which commands are run.
        jobs: Runs side by side.
        threads: Of each run on a CPU.
    """

    def __init__(self, study: Study, work_dir: Path, records: Path, root: Path, jobs: int, threads: int) -> None:
        self.study, self.work_dir, self.records, self.root = study, work_dir, records, root
        self.jobs, self.threads = jobs, threads
        self._processes: set[subprocess.Popen] = set()
        self._starting = Lock()  # of a process, which is known once it is begun, and stopped if all are
        self._stopped = False
        self._lock_file: int | None = None

    def left(self, only: Sequence[str] = ()) -> list[Run]:
        """Runs without a record, or those of them that ``only`` names.

        Raises:
            InputError: A run is unknown; or see :func:`~mmrazor_bignas.study.records.records_of`.
        """
        runs = self.study.runs
        if unknown := set(only) - set(runs):
            raise InputError(f'{self.study.path}: has no run {min(unknown)!r}; it has {list(runs)}')
        done = records_of(self.records, runs)
        return [run for name, run in runs.items() if name not in done and (not only or name in only)]

    def run(self, only: Sequence[str] = (), until: float = float('inf')) -> None:
        """Do what is left, or of it what ``only`` names.

        Args:
            only: Names of runs.
            until: No run is begun after this time (as of ``time.monotonic``); those that are on are finished.

        Raises:
            InputError: A run is unknown or needs another one first, or another process is at this study, be it
                a command of one that was killed.
            RunFailed: Commands failed; the runs that do not need them were done.
        """
        failures: list[BaseException] = []
        self._stopped = False
        with one_writer(self.work_dir) as lock, ThreadPoolExecutor(self.jobs) as pool:
            self._lock_file = lock.descriptor
            for note in lock.notes:
                print(note)
            waiting = self.left(only)
            done = self._write_subnets()
            for run in waiting:
                if needed := set(run.needs) - done - {other.name for other in waiting}:
                    raise InputError(f'{run.name} needs {min(needed)}, which is not done; name it, too')
            running: set[Future] = set()
            try:
                while waiting or running:
                    ready = [run for run in waiting if done.issuperset(run.needs)] if time.monotonic() < until else []
                    for run in ready[: self.jobs - len(running)]:
                        waiting.remove(run)
                        running.add(pool.submit(self._do, run))
                    if not running:
                        break  # what waits needs a run that failed, or another time
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    failures += [error for future in finished if (error := future.exception())]
                    done = self._write_subnets()
            finally:
                with self._starting:
                    self._stopped = True  # after a signal; what runs is not to go on with its next command
                for process in list(self._processes):
                    process.terminate()  # a training saves, and goes on another time
        if strange := [error for error in failures if not isinstance(error, UserError)]:
            raise strange[0]
        if failures:
            raise RunFailed('\n'.join(map(str, failures)))

    def commands(self, run: Run) -> list[list[str]]:
        """What is typed to do a run, after ``python``."""
        work_dir = self.work_dir / run.name
        subnets = {name: str(self._yaml(name)) for name in self.study.subnets}
        options = {'randomness.seed': run.seed, **run.options}
        if run.kind == 'alone':
            options['algorithm.mutable_cfg'] = subnets[run.of]
        train = [*BIGNAS, 'train', str(run.config), '--work-dir', str(work_dir), '--resume']
        commands = [[*train, '--cfg-options', *(f'{key}={write_value(value)}' for key, value in options.items())]]
        checkpoint = str(work_dir / f'epoch_{run.epochs}.pth')
        evaluate = [*BIGNAS, 'study', 'evaluate', str(self.study.evaluate), checkpoint]
        if run.kind == 'alone':
            commands.append([*evaluate, subnets[run.of], '--out', str(work_dir / 'alone.json')])
        if run.name == self.study.first:
            for budget, flops in self.study.budgets.items():
                search = [*BIGNAS, 'search', str(self.study.search), '--checkpoint', checkpoint, '--resume']
                search += ['--work-dir', str(work_dir / f'search_{budget}')]
                commands.append([*search, '--cfg-options', f'val_cfg.constraints.flops=(0,{flops})'])
        if run.kind == 'supernet':
            commands.append([*evaluate, *subnets.values(), '--out', str(work_dir / 'shared.json')])
        if run.of == self.study.recipe:
            out = str(work_dir / 'uncalibrated.json')
            commands.append([*evaluate, *subnets.values(), '--statistics-of-largest', '--out', out])
        return commands

    def _do(self, run: Run) -> None:
        work_dir, began = self.work_dir / run.name, time.monotonic()
        starts = self._starts(run, work_dir)
        commands = self.commands(run)
        print(f'{run.name}: begun; {work_dir / LOG}', flush=True)
        try:
            for command in commands:
                self._call(run, command, work_dir / LOG)
                for subnet, yaml in found_subnets(self.study, run, work_dir).items():
                    write_atomically(self._yaml(subnet), partial(_write, yaml))
        finally:
            starts[-1]['seconds'] = round(time.monotonic() - began, 1)
            write_atomically(work_dir / STARTS, partial(_write, json.dumps({'digest': run.digest, 'starts': starts})))
        seconds = sum(start['seconds'] for start in starts)
        record = {
            'run': run.name,
            'kind': run.kind,
            'of': run.of,
            'seed': run.seed,
            'config': str(run.config),
            'digest': run.digest,
            'commands': ['python ' + shlex.join(command) for command in commands],
            'seconds': round(seconds, 1),
            'starts': starts,
            'results': collect(self.study, run, work_dir),
            'logs_digest': logs_digest(work_dir),
            'log': read_training_log(work_dir)._asdict(),
        }
        write_record(self.records, record)
        print(f'{run.name}: done in {seconds:.0f} s', flush=True)

    def _starts(self, run: Run, work_dir: Path) -> list[dict]:
        """When and where the run was begun until now; what was begun with another config is moved aside."""
        starts, path = [], work_dir / STARTS
        if path.exists():
            try:
                known = parse_json(path.read_bytes())
                if known['digest'] == run.digest:
                    starts = list(known['starts'])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f'{path}: not the starts of a run; remove {work_dir}, and the run is repeated'
                ) from error
        if starts and not starts[-1]['seconds'] and (work_dir / LOG).exists():  # it was killed
            lasted = (work_dir / LOG).stat().st_mtime - datetime.fromisoformat(starts[-1]['at']).timestamp()
            starts[-1]['seconds'] = round(max(lasted, 0.0), 1)
        if work_dir.exists() and not starts:
            with one_writer(work_dir):  # not from under a training that was started by hand
                work_dir.rename(f'{work_dir}.{datetime.now(timezone.utc):%Y%m%d-%H%M%S}')
        now = datetime.now(timezone.utc).isoformat(timespec='seconds')
        how = {'side_by_side': self.jobs, 'threads': self.threads, **surroundings(self.root)}
        starts = [*starts, {'at': now, 'seconds': 0.0, **how}]
        write_atomically(path, partial(_write, json.dumps({'digest': run.digest, 'starts': starts})))
        return starts

    def _call(self, run: Run, command: list[str], log: Path) -> None:
        with open(log, 'a') as file:
            with self._starting:
                if self._stopped:
                    raise RunFailed(f'{run.name}: stopped before python {shlex.join(command)}')
                file.write(f'$ python {shlex.join(command)}\n')
                file.flush()
                process = subprocess.Popen(
                    [sys.executable, *command],
                    cwd=self.root,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, 'OMP_NUM_THREADS': str(self.threads)},
                    pass_fds=[self._lock_file],  # held as long as a command runs, even if this process is killed
                )
                self._processes.add(process)
            code = process.wait()
            self._processes.remove(process)
        if code:
            last = '\n  '.join(log.read_text(errors='replace').splitlines()[-LAST_LINES:])
            raise RunFailed(f'{run.name}: python {shlex.join(command)} ended with {code}; {log} ends with\n  {last}')

    def _yaml(self, subnet: str) -> Path:
        return self.work_dir / 'subnets' / f'{subnet}.yaml'

    def _write_subnets(self) -> set[str]:
        """Write the YAMLs of the subnets that are known; the names of finished runs."""
        done = read_records(self.records)
        known = dict(self.study.fixed_subnets)
        for subnet, rows in done.get(self.study.first, {}).get('results', {}).get('subnets', {}).items():
            known[subnet] = SubnetSpec.from_dict(rows)
        for name, subnet in known.items():
            write_atomically(self._yaml(name), partial(_write, subnet.to_yaml()))
        return set(done)


def _write(text: str, file: BinaryIO) -> None:
    file.write(text.encode())
