"""Hooks around training: the losses, a look at the data, a progress bar."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.hooks import Hook, LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from tqdm import tqdm

from mmrazor_bignas.engine.batches import SeededDataset
from mmrazor_bignas.engine.distributed import unwrapped
from mmrazor_bignas.engine.progress import logs_above_bars, on_terminal
from mmrazor_bignas.errors import InputError, TrainingDiverged
from mmrazor_bignas.registry import HOOKS


@HOOKS.register_module()
class LossHook(RuntimeInfoHook):
    """Hands losses to the log, and stops at the first that is no finite number, before it is in a checkpoint.

    In the place of mmengine's ``runtime_info``, which waits for a GPU at every loss of every step; here the losses of a
    GPU are fetched together, when the log wants them or a checkpoint is saved.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[int, list[str], torch.Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._interval = min((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), default=1)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Mapping | None = None
    ) -> None:
        losses = torch.stack([torch.as_tensor(value) for value in outputs.values()])
        self._steps.append((runner.iter + 1, list(outputs), losses))
        if (
            not waiting_costs(losses)
            or self.every_n_inner_iters(batch_idx, self._interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self.fetch(runner)

    def fetch(self, runner: Runner) -> None:
        """Hand over what is there, in the order of the steps.

        Raises:
            TrainingDiverged: A loss is no finite number.
        """
        if not self._steps:
            return
        rows = torch.stack([losses for *_, losses in self._steps]).tolist()
        for (iteration, names, _), row in zip(self._steps, rows, strict=True):
            if bad := {name: value for name, value in zip(names, row, strict=True) if not math.isfinite(value)}:
                last = runner.message_hub.runtime_info.get('last_ckpt', 'none was saved yet')
                raise TrainingDiverged(
                    f'training stopped at iteration {iteration}: {bad}. Last good checkpoint: {last}. '
                    'A lower learning rate, a longer warm-up or gradient clipping may help.'
                )
            for name, value in zip(names, row, strict=True):
                runner.message_hub.update_scalar(f'train/{name}', value)
        self._steps.clear()


def waiting_costs(losses: torch.Tensor) -> bool:
    """Whether a device works on while the losses are not asked for."""
    return losses.is_cuda


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Before training, compare the training labels with the classifier.

    Raises:
        InputError: A label has no output, or a class below the largest label (or an empty class folder) no image.
    """

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        if isinstance(dataset, SeededDataset):
            dataset = dataset.dataset
        if not hasattr(dataset, 'get_gt_labels'):
            return
        num_classes = unwrapped(runner.model).architecture.head.num_classes
        counts = np.bincount(dataset.get_gt_labels())
        if len(counts) > num_classes:
            raise InputError(
                f'training data: the largest label is {len(counts) - 1}, but the head has {num_classes} classes '
                f'(0 to {num_classes - 1}); set algorithm.architecture.head.num_classes'
            )
        names = dataset.metainfo.get('classes') or [str(i) for i in range(num_classes)]
        scanned = not getattr(dataset, 'ann_file', '')  # one folder per class: an empty one is a mistake
        expected = len(names) if scanned else len(counts)
        counts = np.pad(counts, (0, max(0, num_classes - len(counts))))
        if empty := [str(names[i]) for i in range(expected) if counts[i] == 0]:
            raise InputError(
                f'training data: {len(empty)} of {expected} classes have no image: {empty[:5]}; add images, or leave '
                'the class out and number the rest from 0 without gaps'
            )
        if unused := int((counts == 0).sum()):
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
