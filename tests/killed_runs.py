"""Run the tools many times, kill them at random moments, go on with --resume: python killed_runs.py KIND RANKS SEED ...

KIND is train or search. Everything is imported once and runs are forked, so a start costs nothing. Prints a JSON line
per seed: how often the run was killed and where, and whether what it left equals what an undisturbed run left.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import math
import os
import random
import re
import signal
import socket
import sys
import time
from pathlib import Path

import torch
from conftest import ROOT, TINY_ROWS

from mmrazor_bignas import commands

STARTS = itertools.count()

CONFIG = f"""
_base_ = ['{ROOT}/configs/demo/digits_%s.py']
_split = dict(parts=dict(search=0.04, test=0.9), part='train')
_tiny = dict(backbone=dict(search_space=dict(_delete_=True, **{TINY_ROWS!r})))
algorithm = dict(architecture=_tiny)
"""
TRAIN = """
train_dataloader = dict(batch_size=8, dataset=_split, num_workers={workers}, persistent_workers={workers} > 0)
val_dataloader = dict(dataset=dict(parts=_split['parts']))
val_cfg = dict(calibrate_sample_num=16, calibrate_dataloader=dict(dataset=_split))
train_cfg = dict(max_epochs={epochs}, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1), logger=dict(interval=100))
custom_hooks = [dict(type='EMAHook')]
"""
SEARCH = """
val_dataloader = dict(dataset=dict(parts=_split['parts']))
val_cfg = dict(
    calibrate_sample_num=16,
    calibrate_dataloader=dict(dataset=_split),
    generations=3,
    strategy=dict(population=4, parents=2),
    constraints=dict(_delete_=True, params=(0, 1e9)),
)
"""


def digits_config(folder: Path, kind: str = 'train', workers: int = 0, epochs: int = 3, extra: str = '') -> Path:
    """Write the config of a training of some steps an epoch, or of a search, each step some ten milliseconds."""
    body = TRAIN.replace('{workers}', str(workers)).replace('{epochs}', str(epochs)) if kind == 'train' else SEARCH
    path = folder / f'{kind}{workers}.py'
    path.write_text((CONFIG % ('supernet' if kind == 'train' else 'search')) + body + extra)
    return path


def train_here(config: Path, work_dir: Path, hooks=(), resume: Path | None = None, validate: bool = True, **options):
    """Train in this process, with hooks besides the config's; its Runner."""
    from mmrazor_bignas.engine.resume import resume_from
    from mmrazor_bignas.engine.runner import build_runner, load_config

    cfg = load_config(str(config), options, str(work_dir))
    cfg.experiment_name = f'here{next(STARTS)}'  # else two within a second share their message hub
    if not validate:
        for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
            cfg.pop(key)
    if resume:
        resume_from(cfg, str(resume))
    runner = build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def free_port() -> str:
    """Below those that the system hands out by itself, so that nobody takes it before the first rank does."""
    for port in (20000 + (101 * os.getpid() + number) % 12000 for number in STARTS):
        with socket.socket() as sock, contextlib.suppress(OSError):  # in use, or just was
            sock.bind(('127.0.0.1', port))
            return str(port)


def start(words: list[str], folder: Path, ranks: int, die_at: str | None = None) -> list[int]:
    """Fork a run of tools/train.py; its processes."""
    port = free_port()
    children = []
    for rank in range(ranks):
        if pid := os.fork():
            children.append(pid)
            continue
        log = os.open(folder / f'log{rank}.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if ranks > 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
            os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
            words = [*words, '--launcher', 'pytorch']
        if die_at and rank == 0:
            arm(*die_at.split(':'))
        sys.argv = ['train.py', *words]
        try:
            commands.run('train')
        except SystemExit as stop:
            print(stop, flush=True)
            os._exit(1)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return children


def arm(place: str, count: str, signum: str = 'SIGKILL') -> None:
    """Let this process get a signal in the middle of writing a file."""
    from mmrazor_bignas.engine import storage

    left = [int(count)]
    original = getattr(os, place) if place != 'write' else storage.write_atomically

    def die() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.Signals[signum])

    if place == 'write':

        class HalfWriter:
            def __init__(self, file):
                self.file = file

            def write(self, content):
                self.file.write(content[: len(content) // 2])
                self.file.flush()
                die()
                return self.file.write(content[len(content) // 2 :])

        def write_atomically(path, write):
            original(path, lambda file: write(HalfWriter(file)))

        storage.write_atomically = write_atomically
    else:

        def dies(*args, **kwargs):
            die()
            return original(*args, **kwargs)

        setattr(os, place, dies)


def wait(children: list[int], seconds: float = math.inf) -> list[int]:
    """Exit codes; what runs after so many seconds is killed. As launchers do, the first to fail ends the others."""
    deadline = time.monotonic() + seconds
    codes: dict[int, int] = {}

    def signal_rest(signum: int) -> None:
        # A process whose exit code was taken no longer exists: its number may be another's.
        for pid in set(children) - set(codes):
            os.kill(pid, signum)

    while len(codes) < len(children):
        for pid in set(children) - set(codes):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
                if codes[pid]:
                    signal_rest(signal.SIGTERM)
        if time.monotonic() > deadline:
            deadline = math.inf
            signal_rest(signal.SIGKILL)
        time.sleep(0.002)
    return [codes[pid] for pid in children]


def killed_run(words: list[str], folder: Path, ranks: int, last_ranks: int, seed: int, duration: float) -> list[str]:
    """Run, kill, go on until the end, the last time on another number of ranks; says where it was killed."""
    rng = random.Random(seed)
    moments = []
    for _ in range(3):
        place = rng.choice(['time', 'time', 'fsync', 'replace', 'write'])
        if place == 'time':
            seconds = rng.uniform(0.0, 0.8) * duration
            moment, codes = f'after {seconds:.2f} s', wait(start(words, folder, ranks), seconds)
        else:
            count = rng.randint(1, 4)
            moment, codes = f'{place} {count}', wait(start(words, folder, ranks, f'{place}:{count}'))
        if -signal.SIGKILL in codes:
            moments.append(moment)
        elif any(codes):
            raise SystemExit(f'exit codes {codes}: ' + (folder / 'log0.txt').read_text()[-3000:])
    codes = wait(start(words, folder, last_ranks))
    if any(codes):
        raise SystemExit(f'exit codes {codes}: ' + (folder / 'log0.txt').read_text()[-3000:])
    return moments


def left_by(kind: str, folder: Path, epochs: int = 3) -> object:
    """What a finished run left, to be compared."""
    if kind == 'train':
        checkpoint = torch.load(folder / f'epoch_{epochs}.pth', weights_only=True)
        scalars = checkpoint['message_hub']['log_scalars']
        losses = {name: value for name, value in scalars.items() if 'time' not in name and 'memory' not in name}
        meta = {name: checkpoint['meta'][name] for name in ('epoch', 'iter', 'seed', 'layout')}
        parts = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
        return [meta, losses, *(checkpoint[part] for part in parts)]
    best = torch.load(folder / 'best_subnet.pth', weights_only=True)
    return [(folder / name).read_text() for name in ('search_history.jsonl', 'best_subnet.yaml')] + [best]


def same(ours: object, theirs: object) -> bool:
    """Equal to the last bit."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def main() -> None:
    kind, ranks, root, seeds = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), [int(word) for word in sys.argv[4:]]
    torch.set_num_threads(1)
    prepare_forks()

    def prepare(name: str, workers: int) -> tuple[Path, Path]:
        folder = root / name
        folder.mkdir(parents=True)
        return folder, digits_config(root, kind, workers)

    extra = []
    if kind == 'search':
        torch.manual_seed(0)
        build_supernet(prepare('supernet', 0)[1], root / 'supernet.pth')
        extra = ['--checkpoint', str(root / 'supernet.pth')]
    references = {}
    for seed in seeds:
        workers = 2 if kind == 'train' and seed % 5 == 4 else 0
        if workers not in references:
            folder, config = prepare(f'undisturbed{workers}', workers)
            began = time.monotonic()
            codes = wait(start([str(config), '--work-dir', str(folder), *extra], folder, ranks))
            assert not any(codes), (folder / 'log0.txt').read_text()[-3000:]
            references[workers] = (left_by(kind, folder), time.monotonic() - began)
        reference, duration = references[workers]
        folder, config = prepare(f'seed{seed}', workers)
        words = [str(config), '--work-dir', str(folder), *extra, '--resume']
        last_ranks = 3 - ranks if kind == 'search' and seed % 2 else ranks  # 1 for 2 and 2 for 1
        moments = killed_run(words, folder, ranks, last_ranks, seed, duration)
        resumed = len(re.findall(r'resumed(?: epoch|: \d+ candidates)', (folder / 'log0.txt').read_text()))
        equal = same(left_by(kind, folder), reference)
        print(json.dumps({'seed': seed, 'killed': moments, 'resumed': resumed, 'same': equal}), flush=True)


def prepare_forks() -> None:
    """Do once what takes seconds in every run and is none of the matter."""
    ours = ('mmrazor_bignas.commands.train', 'mmrazor_bignas.engine')
    for module in (*ours, 'mmcls.datasets', 'mmcls.models', 'yapf', 'matplotlib.pyplot'):
        importlib.import_module(module)
    import mmengine.runner.runner
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    sklearn.datasets.load_digits = lambda: digits
    environment = mmengine.runner.runner.collect_env()
    mmengine.runner.runner.collect_env = lambda: environment


def build_supernet(config: Path, path: Path) -> None:
    """A checkpoint to search: random weights are as good as trained ones."""
    from conftest import randomise
    from mmengine.registry import init_default_scope

    from mmrazor_bignas.engine.runner import load_config
    from mmrazor_bignas.registry import MODELS

    init_default_scope('mmcls')
    algorithm = MODELS.build(load_config(str(config)).algorithm)
    randomise(algorithm)
    for key, value in algorithm.named_buffers():
        if 'running' in key or 'num_batches' in key:
            value.zero_() if 'var' not in key else value.fill_(1)
    torch.save({'state_dict': algorithm.state_dict(), 'meta': {}}, path)


if __name__ == '__main__':
    main()
