"""Run the tools beside each other and interrupt them: python interrupted_runs.py FOLDER SCENARIO ...

A training of one epoch stops at a gate until it is let on, so that what happens then is no matter of time. As in
killed_runs.py everything is imported once and runs are forked. Prints a JSON line per scenario: what was found.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from killed_runs import build_supernet, digits_config, left_by, prepare_forks, same, start, wait
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

STEP = 4
GATE = "custom_hooks = [dict(type='EMAHook'), dict(type='mmengine.Gate')]"


@HOOKS.register_module()
class Gate(Hook):
    """Waits in the middle of a step, in a work dir where this is wanted."""

    def after_train_iter(self, runner, **kwargs) -> None:
        gate = Path(runner.work_dir) / 'gate'
        if runner.iter == STEP and gate.exists():
            (gate / str(runner.rank)).touch()
            until(lambda: not gate.exists())


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, 'waited too long'
        time.sleep(0.01)


class Scene:
    """A work dir, and runs in it.

    Args:
        root: Where configs and work dirs are.
        name: The work dir's.
        kind: ``train`` or ``search``.
    """

    def __init__(self, root: Path, name: str, kind: str = 'train') -> None:
        self.work_dir = root / name
        self.work_dir.mkdir()
        self.config = digits_config(root, kind, workers=1, epochs=1, extra=GATE if kind == 'train' else '')
        self.words = [str(self.config), '--work-dir', str(self.work_dir)]
        self.words += ['--no-validate'] if kind == 'train' else ['--checkpoint', str(root / 'supernet.pth')]

    def start(self, name: str, ranks: int = 1, *words: str, at: str | None = None) -> list[int]:
        (self.work_dir.parent / name).mkdir(exist_ok=True)
        return start([*self.words, *words], self.work_dir.parent / name, ranks, at)

    def start_to_gate(self, name: str, ranks: int = 1, at: str | None = None) -> list[int]:
        gate = self.work_dir / 'gate'
        gate.mkdir()
        children = self.start(name, ranks, at=at)
        until(lambda: len(list(gate.iterdir())) == ranks)
        return children

    def open_gate(self) -> None:
        for path in (self.work_dir / 'gate').iterdir():
            path.unlink()
        (self.work_dir / 'gate').rmdir()

    def log(self, name: str) -> str:
        return ''.join(path.read_text() for path in sorted((self.work_dir.parent / name).glob('log*.txt')))

    def files(self) -> dict[str, object]:
        paths = [self.work_dir, *self.work_dir.rglob('*')]
        return {str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in self.work_dir.glob('[!.]*.pth'))


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def interrupt(children: list[int]) -> None:
    """As a terminal does: every process, workers among them."""
    for pid in [*children, *(worker for child in children for worker in workers_of(child))]:
        os.kill(pid, signal.SIGINT)


@cache
def undisturbed(root: Path) -> object:
    """What a training leaves that nothing happened to."""
    scene = Scene(root, 'undisturbed')
    assert wait(scene.start('undisturbed-log')) == [0]
    return left_by('train', scene.work_dir, 1)


def two_trainings(root: Path) -> dict:
    """A second one comes while the first one runs, alone and as two processes."""
    scene = Scene(root, 'two')
    first = scene.start_to_gate('first')
    before = scene.files()
    second, third = wait(scene.start('second')), wait(scene.start('third', 2, '--resume'))
    untouched = scene.files() == before
    scene.open_gate()
    return {
        'first': wait(first),
        'second': second,
        'third': third,
        'untouched': untouched,
        'pid': first[0],
        'said': [scene.log('second'), scene.log('third')],
        'same': same(left_by('train', scene.work_dir, 1), undisturbed(root.parent)),
    }


def killed(root: Path) -> dict:
    """The next one finds the work dir free, although the workers of the first still run."""
    scene = Scene(root, 'killed')
    first = scene.start_to_gate('first')
    workers = workers_of(first[0])
    os.kill(first[0], signal.SIGKILL)
    code = wait(first)
    scene.open_gate()
    alive = [Path(f'/proc/{pid}').exists() for pid in workers]
    second = wait(scene.start('second', 1, '--resume'))
    equal = same(left_by('train', scene.work_dir, 1), undisturbed(root.parent))
    return {'first': code, 'alive': alive, 'second': second, 'same': equal}


def interrupted(root: Path, ranks: int = 1) -> dict:
    """Once: it says so before it has saved."""
    scene = Scene(root, f'interrupted{ranks}')
    first = scene.start_to_gate('first', ranks)
    interrupt(first)
    until(lambda: 'press Ctrl-C again' in scene.log('first'))
    scene.open_gate()
    return {'codes': wait(first), 'saved': scene.checkpoints(), 'said': scene.log('first')}


def interrupted_by_two(root: Path) -> dict:
    return interrupted(root, 2)


def twice(root: Path) -> dict:
    """The second time in the middle of saving."""
    scene = Scene(root, 'twice')
    first = scene.start_to_gate('first', at='write:1:SIGINT')
    interrupt(first)
    until(lambda: 'press Ctrl-C again' in scene.log('first'))
    scene.open_gate()
    codes, half = wait(first), [path.name for path in scene.work_dir.glob('.*.tmp')]
    return {'codes': codes, 'saved': scene.checkpoints(), 'half': half}


def search(root: Path) -> dict:
    """Two at once, the first one interrupted."""
    scene = Scene(root, 'search', 'search')
    torch.manual_seed(0)
    build_supernet(scene.config, root / 'supernet.pth')
    history = scene.work_dir / 'search_history.jsonl'
    first = scene.start('first')
    until(lambda: history.exists() and history.read_text().count('\n') > 2)
    os.kill(first[0], signal.SIGSTOP)
    before = scene.files()
    second = wait(scene.start('second'))
    untouched = scene.files() == before
    os.kill(first[0], signal.SIGINT)
    os.kill(first[0], signal.SIGCONT)
    codes = wait(first)
    resumed = wait(scene.start('third', 1, '--resume'))
    return {
        'second': second,
        'untouched': untouched,
        'codes': codes,
        'resumed': resumed,
        'said': [scene.log(name) for name in ('first', 'second', 'third')],
    }


def main() -> None:
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    prepare_forks()
    for name in sys.argv[2:]:
        (root / name).mkdir()
        print(json.dumps(globals()[name](root / name)), flush=True)


if __name__ == '__main__':
    main()
