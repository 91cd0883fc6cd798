"""Where a training goes on: the newest whole checkpoint of a work dir, and what fits it to this run."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.runner import Runner

from mmrazor_bignas.engine.checkpoints import read_checkpoint
from mmrazor_bignas.engine.progress import track
from mmrazor_bignas.engine.storage import TEMPORARY
from mmrazor_bignas.errors import InputError

NAME = re.compile(r'(epoch|iter)_\d+\.pth')
POINTER = 'last_checkpoint'  # mmengine's file with the newest one's path


class Layout(NamedTuple):
    """How a training divides an epoch; a checkpoint carries it."""

    iters_per_epoch: int
    world_size: int
    batch_size: int

    @classmethod
    def of(cls, runner: Runner) -> Layout:
        """That of a Runner with a built training loop."""
        loader = runner.train_dataloader
        return cls(len(loader), runner.world_size, loader.batch_sampler.batch_size)


class Found(NamedTuple):
    """The training checkpoints of a folder."""

    whole: dict[Path, float]  # and how far the training was, in epochs; newest first
    broken: dict[Path, str]  # and why


def find_checkpoints(folder: Path) -> Found:
    """Read the heads of all training checkpoints and sort by how far the training was."""
    progress, broken = {}, {}
    for path in sorted(folder.glob('*.pth')):
        if NAME.fullmatch(path.name):
            try:
                progress[path] = epochs_done(read_checkpoint(path, head_only=True)['meta'])
            except InputError as error:
                broken[path] = str(error)
            except (KeyError, TypeError, AttributeError, ZeroDivisionError):
                broken[path] = f'{path}: does not say how far the training was'
    newest_first = sorted(progress, key=progress.get, reverse=True)
    return Found({path: progress[path] for path in newest_first}, broken)


def epochs_done(meta: dict) -> float:
    """How far a checkpoint is in the training, in epochs, whatever an epoch's steps were."""
    if 'layout' not in meta:
        return float(meta.get('epoch', 0))
    return meta['iter'] / meta['layout']['iters_per_epoch']


def find_resume_point(work_dir: str | Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole and has the right checksums, or None; and what was wrong on the way.

    Raises:
        InputError: There are checkpoints, but none is whole.
    """
    work_dir = Path(work_dir)
    whole, broken = find_checkpoints(work_dir)
    for path in whole:
        if zipfile.is_zipfile(path) and (part := zipfile.ZipFile(path).testzip()):
            broken[path] = f'{path}: damaged, the checksum of its part {part} is wrong'
            continue
        return path, [f'{problem}; going on with {path}' for problem in broken.values()]
    if broken:
        problems = '\n  '.join(broken.values())
        raise InputError(f'--resume: no checkpoint of {work_dir} is whole:\n  {problems}\nremove them to begin anew')
    return None, []


def resume_from(cfg: Config, path: str, pickled: str | None = None) -> None:
    """Let a config go on from a checkpoint, with its seed; ``pickled`` is the one file that may be unpickled.

    Raises:
        InputError: The file is no checkpoint of a training.
    """
    checkpoint = read_checkpoint(path, head_only=True, pickled=pickled)
    if missing := [key for key in ('optimizer', 'message_hub') if key not in checkpoint]:
        raise InputError(f'--resume {path}: has no {missing[0]}, so it is not of a training; --checkpoint loads it')
    cfg.resume, cfg.load_from = True, path
    if (seed := checkpoint['meta'].get('seed')) is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}


def move_aside(folder: Path, from_epochs: float, source: str | None = None) -> Path | None:
    """Move checkpoints of another training, or of a part that is done anew, into a folder of their own.

    Args:
        folder: Where they are.
        from_epochs: Those that are as far, and broken ones, are moved.
        source: The file that this training began with, which stays.
    """
    whole, broken = find_checkpoints(folder)
    later = [path for path, epochs in whole.items() if epochs >= from_epochs]
    stays = Path(source).resolve() if source else None
    if not (moved := [path for path in [*later, *broken] if path.resolve() != stays]):
        return None
    aside = next(path for i in range(1, 10**6) if not (path := folder / f'earlier.{i}').exists())
    aside.mkdir()
    for path in moved:
        path.rename(aside / path.name)
    return aside


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    for path in folder.glob(TEMPORARY.format('*')):
        path.unlink(missing_ok=True)


def fit(checkpoint: dict, runner: Runner, source: str) -> list[str]:
    """Fit a checkpoint to another number of ranks, batch size or data set, in place; returns what changes.

    The epoch is kept, and the part of it that is done, in whole steps. Learning rates and the like are what the
    config's schedules say for that step.
    """
    meta, now = checkpoint['meta'], Layout.of(runner)
    was = Layout(**meta['layout']) if 'layout' in meta else None
    if was == now or (was is None and meta['iter'] == meta['epoch'] * now.iters_per_epoch):
        return []
    step, done = runner.train_loop.accumulate, 0
    if was is not None:
        done = (
            (meta['iter'] - meta['epoch'] * was.iters_per_epoch) * now.iters_per_epoch // (was.iters_per_epoch * step)
        )
    meta['iter'] = meta['epoch'] * now.iters_per_epoch + done * step
    _replay_schedules(checkpoint, runner)
    before = 'another program' if was is None else f'{was.world_size} process(es) x {was.batch_size} images a step'
    epoch_was = '' if was is None else f' (was {was.iters_per_epoch})'
    rate = runner.optim_wrapper.get_lr()['lr'][0]
    return [
        f'{source} was saved by {before}; this run has {now.world_size} x {now.batch_size}. An epoch has '
        f'{now.iters_per_epoch} steps{epoch_was}; training goes on in epoch {meta["epoch"] + 1} after '
        f'{meta["iter"] - meta["epoch"] * now.iters_per_epoch} of them, with learning rate {rate:.4g}, which is for '
        "the config's total batch unless --auto-scale-lr is given. The weights will differ from those of a training "
        'that kept its number of processes.'
    ]


def _replay_schedules(checkpoint: dict, runner: Runner) -> None:
    """Step the freshly built schedules to the checkpoint's step, and put their state in the place of the saved one."""
    schedulers = runner.param_schedulers or []
    steps, epochs = checkpoint['meta']['iter'], checkpoint['meta']['epoch']
    length = len(runner.train_dataloader)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # "scheduler.step() before optimizer.step()": so it is meant
        for step in track(range(1, steps + 1), 'replay schedules', steps):
            for scheduler in schedulers:
                # A checkpoint of an epoch's last step comes before the epoch's end.
                if not scheduler.by_epoch or (step % length == 0 and step // length <= epochs):
                    scheduler.step()
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    scheduled = {scheduler.param_name for scheduler in schedulers} | {'lr'}
    names = scheduled | {f'initial_{name}' for name in scheduled}
    saved_state = checkpoint['optimizer']
    groups = [*saved_state['param_groups'], *filter(None, [saved_state.get('base_param_settings')])]
    for saved, fresh in zip(groups, runner.optim_wrapper.param_groups, strict=True):
        saved.update({name: fresh[name] for name in names & set(fresh)})
