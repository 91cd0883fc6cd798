"""Checkpoints of training: plain, whole, and the earlier one kept until the new one is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.runner import Runner
from torch import nn

from mmrazor_bignas.engine.checkpoints import check_classes, check_state, check_subnet, supernet_meta
from mmrazor_bignas.engine.distributed import unwrapped
from mmrazor_bignas.engine.resume import POINTER, Layout, find_checkpoints, fit, move_aside, remove_leftovers
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models.state import with_new_head, with_stem_of
from mmrazor_bignas.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook with its options; what it saves loads with ``weights_only=True`` and can be resumed anywhere.

    mmengine's message hub holds objects that torch refuses with ``weights_only=True``; they are stored as numbers. A
    checkpoint says its search space, config, version and place in the training. Other networks' checkpoints are kept
    out of the model. An old checkpoint is removed after the new one is on disk, not before.

    Args:
        new_head: Whether a training that begins with a checkpoint takes all of it but the head, as for a data set with
            other classes. ``tools/train.py --new-head`` sets it. A training that goes on keeps its head.
        **kwargs: Of mmengine's hook. ``filename_tmpl``, ``out_dir`` and ``file_client_args`` are not accepted:
            ``--resume`` finds checkpoints in the work dir, by their names ``epoch_N.pth`` and ``iter_N.pth``.

    Attributes:
        saved_iter: Steps that the newest checkpoint of this run has seen.
    """

    priority = 'VERY_LOW'  # EMAHook swaps weights before
    saved_iter = 0

    def __init__(self, new_head: bool = False, **kwargs) -> None:
        if fixed := sorted({'filename_tmpl', 'out_dir', 'file_client_args'} & set(kwargs)):
            raise InputError(f'default_hooks.checkpoint: {fixed} cannot be set, --resume finds files by place and name')
        super().__init__(**kwargs)
        self.new_head = new_head

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        accumulate = getattr(runner.train_loop, 'accumulate', 1)  # the loop may be the user's
        if not self.by_epoch and self.interval > 0 and (self.interval % accumulate or self.save_begin % accumulate):
            raise InputError(
                f'default_hooks.checkpoint.interval is {self.interval}, but a step has {accumulate} batches '
                '(accumulative_counts); choose a multiple'
            )
        self.saved_iter = runner.iter
        self._config = runner.tools_config().pretty_text
        barrier()  # every rank has read what it began with
        if is_main_process():
            remove_leftovers(Path(self.out_dir))
            # The point of the resume may be up to a step further, see fit.
            beyond = (runner.iter + accumulate) / len(runner.train_dataloader)
            if aside := move_aside(Path(self.out_dir), beyond - 1e-9, runner._load_from):
                runner.logger.warning(
                    f'moved checkpoints that are not of this training to {aside}; --resume would go on with them'
                    if runner.iter == 0
                    else f'moved checkpoints from beyond the point of the resume to {aside}'
                )

    def save_now(self, runner: Runner) -> str:
        """Save between two steps, on every rank's call; returns the file when it is on disk."""
        name = f'iter_{runner.iter}.pth'
        if self.saved_iter != runner.iter:
            self._save(runner, name, {'epoch': runner.epoch, 'iter': runner.iter})
        barrier()  # the first rank writes; a rank that left earlier would end it
        return self.last_ckpt

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            # Tensors, which a look at the head leaves on disk; they hold a number per step.
            name: {
                'values': torch.tensor(buffer.data[0]),
                'counts': torch.tensor(buffer.data[1]),
                'max': buffer.max_length,
            }
            for name, buffer in hub['log_scalars'].items()
        }
        hub['runtime_info'] = {
            k: v for k, v in hub['runtime_info'].items() if k in hub['resumed_keys'] and _is_plain(v)
        }
        kept = {*hub['log_scalars'], *hub['runtime_info']}
        hub['resumed_keys'] = {k: v for k, v in hub['resumed_keys'].items() if k in kept}
        checkpoint['message_hub'] = dict(hub)
        meta = checkpoint['meta']
        model = unwrapped(runner.model)
        space, subnet = (getattr(model, name, None) for name in ('search_space', 'subnet'))
        meta.update(supernet_meta(space) if space else {}, cfg=self._config)  # another library's network has none
        if subnet is not None:
            meta['subnet'] = subnet.to_dict()
        meta['layout'] = Layout.of(runner)._asdict()
        if not _is_plain(meta.get('dataset_meta')):
            del meta['dataset_meta']

    def fit_and_check(self, runner: Runner, checkpoint: dict) -> None:
        """Fit a loaded checkpoint to the network in place, or refuse it; before any hook takes weights from it."""
        source = runner._load_from or 'the checkpoint'
        begins = runner._train_loop is not None and not runner._resume
        if begins:
            self._fit(unwrapped(runner.model), checkpoint, source, runner.logger)
        check_state(unwrapped(runner.model), checkpoint['state_dict'], source=source)
        if begins and not self.new_head:
            dataset = getattr(runner.train_dataloader.dataset, 'dataset', runner.train_dataloader.dataset)
            if note := check_classes(checkpoint, dataset, source, 'unless both mean the same, add --new-head'):
                runner.logger.warning(note)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        hub = checkpoint.get('message_hub')
        if hub:
            hub['log_scalars'] = {
                name: HistoryBuffer(buffer['values'].tolist(), buffer['counts'].tolist(), buffer['max'])
                if isinstance(buffer, Mapping)
                else buffer
                for name, buffer in hub['log_scalars'].items()
            }
        if runner._resume:
            for line in fit(checkpoint, runner, runner._load_from or 'the checkpoint'):
                runner.logger.warning(line)

    def _fit(self, model: nn.Module, checkpoint: dict, source: str, logger: MMLogger) -> None:
        """Fit another training's checkpoint to the network that begins with it, in place."""
        if getattr(model, 'subnet', None) is not None:
            check_subnet(model, checkpoint, source)
        checkpoint['state_dict'], note = with_stem_of(model, checkpoint['state_dict'], source)
        if note:
            logger.info(note)
        if self.new_head:
            checkpoint['state_dict'], note = with_new_head(model, checkpoint['state_dict'], source)
            logger.info(note)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._save(runner, self.filename_tmpl.format(step), meta)

    def _save(self, runner: Runner, name: str, meta: dict) -> None:
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.saved_iter = meta['iter']
        if is_main_process():
            path = self.last_ckpt.encode()
            write_atomically(Path(runner.work_dir) / POINTER, lambda file: file.write(path))
            if self.max_keep_ckpts > 0:
                for old in list(find_checkpoints(Path(self.out_dir)).whole)[self.max_keep_ckpts :]:
                    old.unlink()


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
