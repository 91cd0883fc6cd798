"""Hooks around training: the losses, a look at the data, a progress bar, the learning curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from tqdm import tqdm

from mmrazor_bignas.engine.batches import SeededDataset
from mmrazor_bignas.engine.datasets import check_labels
from mmrazor_bignas.engine.distributed import unwrapped
from mmrazor_bignas.engine.learning_curve import CURVE_FILE, draw_learning_curve, read_training_log
from mmrazor_bignas.engine.plots import save_figure
from mmrazor_bignas.engine.progress import logs_above_bars, on_terminal
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import StorageError, TrainingDiverged
from mmrazor_bignas.registry import HOOKS
from mmrazor_bignas.search_space import SubnetSpec

MOST_OVERFLOWS = 100  # in a row: a loss scale of 65,536 is then far below any that could still help


class Step(NamedTuple):
    """What is known of a training step before its numbers are.

    Attributes:
        iteration: Its number, from 1 on.
        names: Of the numbers.
        values: The numbers, (len(names),).
        subnets: What was run, by name.
    """

    iteration: int
    names: list[str]
    values: torch.Tensor
    subnets: Mapping[str, SubnetSpec]


@HOOKS.register_module()
class LossHook(RuntimeInfoHook):
    """Hands losses, accuracies and the gradients' norm to the log; stops at the first that is no finite number.

    It stops before such numbers are in a checkpoint, and says which subnet it was. It stands in the place of mmengine's
    ``runtime_info``, which waits for a GPU at every number of every step; here the numbers of a GPU are fetched
    together, when the log wants them or a checkpoint is saved.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._overflows = 0  # one after the other

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._interval = min((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), default=1)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Mapping | None = None
    ) -> None:
        numbers = {name: value for name, value in outputs.items() if name != 'subnets'}
        norm = getattr(runner.optim_wrapper, 'grad_norm', None)  # mmengine's wrappers have none
        if norm is not None:
            numbers['grad_norm'] = norm
        values = torch.stack([torch.as_tensor(value) for value in numbers.values()])
        self._steps.append(Step(runner.iter + 1, list(numbers), values, outputs.get('subnets', {})))
        if (
            not waiting_costs(values)
            or self.every_n_inner_iters(batch_idx, self._interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self.fetch(runner)

    def fetch(self, runner: Runner) -> None:
        """Hand over what is there, in the order of the steps.

        Raises:
            TrainingDiverged: A loss is no finite number, or the norm of gradients that were stepped with, or too many
                steps in a row were left out for their gradients.
        """
        if not self._steps:
            return
        values = iter(torch.cat([step.values for step in self._steps]).tolist())
        for step in self._steps:
            numbers = {name: next(values) for name in step.names}
            bad = {name: value for name, value in numbers.items() if not math.isfinite(value)}
            overflowed = list(bad) == ['grad_norm'] and runner.optim_wrapper.skips_overflows
            self._overflows = self._overflows + 1 if overflowed else 0
            if overflowed and self._overflows <= MOST_OVERFLOWS:
                del numbers['grad_norm']
            elif bad:
                raise TrainingDiverged(diverged(runner, step, bad))
            for name, value in numbers.items():
                runner.message_hub.update_scalar(f'train/{name}', value)
        self._steps.clear()


def steps_each(runner: Runner) -> bool:
    """Whether the optimizer steps after every subnet."""
    return getattr(unwrapped(runner.model), 'step_each_subnet', False)


def waiting_costs(values: torch.Tensor) -> bool:
    """Whether a device works on while the numbers are not asked for."""
    return values.is_cuda


def diverged(runner: Runner, step: Step, bad: Mapping[str, float]) -> str:
    """What happened, in which subnets; the first process writes these into the work dir, as ``diverged_<name>.yaml``.

    Args:
        runner: The Runner.
        step: The step.
        bad: The numbers that are not finite. The first pass among them is the culprit: later ones learn from it, or
            from its gradients. Where only the sum of the gradients is bad, it may be any. Where every pass is followed
            by a step, it may be the pass before, whose gradients the weights were changed with.
    """
    suspects = list(step.subnets)
    failed = [name for name in suspects if f'{name}/loss' in bad]
    if failed:
        first = suspects.index(failed[0])
        suspects = suspects[max(first - steps_each(runner), 0) : first + 1]
    what = ', '.join(f'{name} is {bad[name]}' for name in [f'{name}/loss' for name in failed] or bad)
    parts = [f'training stopped at iteration {step.iteration}: {what}']
    for name in suspects:
        subnet = step.subnets[name]
        flops = unwrapped(runner.model).architecture.cost(subnet).flops / 1e6
        parts.append(f'{name} was {subnet.to_dict()}, {flops:.1f} M FLOPs')
        if is_main_process():
            about = f'# {name} at iteration {step.iteration}, seed {runner.seed}: {what}\n'
            content = (about + subnet.to_yaml()).encode()
            path = Path(runner.work_dir) / f'diverged_{name}.yaml'
            with suppress(StorageError):  # the message has it, too
                write_atomically(path, lambda file, content=content: file.write(content))
                parts[-1] += f' ({path})'
    last = runner.message_hub.runtime_info.get('last_ckpt', 'none was saved yet')
    return (
        f'{"; ".join(parts)}. Last good checkpoint: {last}. '
        'A lower learning rate, a longer warm-up or gradient clipping may help.'
    )


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Before training, compare the training labels with the classifier.

    Raises:
        InputError: See :func:`~mmrazor_bignas.engine.datasets.check_labels`.
    """

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        if isinstance(dataset, SeededDataset):
            dataset = dataset.dataset
        if hasattr(dataset, 'get_gt_labels'):
            model = unwrapped(runner.model)
            num_classes = getattr(model, 'architecture', model).head.num_classes  # of a supernet, or of a network alone
            if unused := check_labels(dataset, dataset.get_gt_labels(), num_classes):
                runner.logger.warning(f'{unused} of the {num_classes} classes of the head have no training image')


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """On a terminal, one bar for the whole training with loss and time left; elsewhere the log's lines do that."""

    def before_train(self, runner: Runner) -> None:
        self._bar = self._redirect = None
        if on_terminal():
            self._redirect = logs_above_bars(runner.logger)
            self._redirect.__enter__()
            self._bar = tqdm(
                desc='train', total=runner.max_iters, initial=runner.iter, unit='it', dynamic_ncols=True, leave=False
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Mapping | None = None
    ) -> None:
        if self._bar is not None:
            losses = runner.message_hub.log_scalars.get('train/loss')  # the last that was fetched
            shown = {'loss': f'{losses.current():.3f}'} if losses else {}
            self._bar.set_postfix(epoch=f'{runner.epoch + 1}/{runner.max_epochs}', **shown)
            self._bar.update()

    def after_train(self, runner: Runner) -> None:
        if self._bar is not None:
            self._bar.close()
            self._redirect.__exit__(None, None, None)


@HOOKS.register_module()
class LearningCurveHook(Hook):
    """At the end of a training, draws its whole course into the work dir: ``learning_curve.png``."""

    def before_train(self, runner: Runner) -> None:
        self._draws = is_main_process()
        if self._draws and find_spec('matplotlib') is None:
            self._draws = False
            runner.logger.warning(f'{CURVE_FILE} needs matplotlib: pip install mmrazor_bignas[demo]')

    def after_train(self, runner: Runner) -> None:
        if not self._draws:
            return
        path = Path(runner.work_dir) / CURVE_FILE
        try:
            save_figure(draw_learning_curve(read_training_log(runner.work_dir)), path)
        except Exception as error:  # a finished training does not fail for its picture
            runner.logger.warning(f'{path} could not be drawn: {type(error).__name__}: {error}')
        else:
            runner.logger.info(f'learning curve: {path}')
