"""The training loop: every step a function of (seed, step, rank), and a signal never loses one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmrazor_bignas.engine.batches import take_unreadable
from mmrazor_bignas.engine.checkpoint_hook import CheckpointHook
from mmrazor_bignas.engine.randomness import seed_generators
from mmrazor_bignas.engine.signals import Stopped, raised_signals, recorded_signals
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.engine.train_batches import build_train_loader
from mmrazor_bignas.engine.unreadable import SHOWN, Unreadable, gather_unreadable, list_first
from mmrazor_bignas.errors import InputError, StorageError
from mmrazor_bignas.registry import LOOPS

UNREADABLE_FILE = 'unreadable_images.txt'


@LOOPS.register_module()
class TrainLoop(EpochBasedTrainLoop):
    """mmengine's loop over epochs, resumable after any step.

    Order and augmentation of the images are functions of (seed, epoch), dropout and drop path of (seed, step, rank): a
    checkpoint needs no random states, and a resumed training repeats an undisturbed one bit for bit where its
    operations are deterministic. With ``skip_unreadable`` each epoch ends with a line on the images that could not be
    read. On SIGTERM, SIGUSR1 or Ctrl-C all ranks agree on a step, save, and leave; a second Ctrl-C does not wait for
    that.

    Args:
        runner: The Runner.
        dataloader: Config of the training data, see
            :func:`~mmrazor_bignas.engine.train_batches.build_train_loader`.
        max_epochs: Epochs to train.
        val_begin: The first epoch that may be validated.
        val_interval: Validate every so many epochs, and after the last.

    Raises:
        InputError: No checkpoint hook of this package, or see ``build_train_loader``.
    """

    def __init__(
        self, runner: Runner, dataloader: dict, max_epochs: int, val_begin: int = 1, val_interval: int = 1
    ) -> None:
        accumulate = runner.optim_wrapper.get('accumulative_counts', 1)  # a config still
        loader = build_train_loader(dataloader, runner.seed, accumulate)
        super().__init__(runner, loader, max_epochs, val_begin, val_interval)
        self.accumulate = accumulate
        savers = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        if len(savers) != 1:
            raise InputError('default_hooks.checkpoint: training needs type mmrazor_bignas.CheckpointHook')
        self._saver = savers[0]
        self._unreadable: dict[str, Unreadable] = {}  # of the epoch

    def run(self) -> nn.Module:
        """Train until the last epoch.

        Raises:
            Stopped: After a signal; the training so far is saved.
        """
        self.runner.call_hook('before_train')
        with recorded_signals() as self._signals:
            self._agree = Agreement(self._signals)
            if self._epoch and self._position() == 0:
                self._validate()  # the end of an epoch is saved before its validation
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """The rest of the epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        position = self._position()
        self.dataloader.batch_sampler.begin(self._epoch, position)
        for idx, batch in enumerate(self.dataloader, position):
            self._unreadable |= take_unreadable(batch)
            self.run_iter(idx, batch)
        if self.dataloader.dataset.unreadable != 'error':
            self._report_unreadable(position)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """One batch; afterwards, leave if a rank was asked to."""
        seed_generators(self.runner.seed, 'step', self._iter, get_dist_info()[0])
        self._agree.begin()
        super().run_iter(idx, data_batch)
        signum = self._agree.end()
        if signum and self._iter % self.accumulate == 0:
            raise Stopped(signum, self._saver.save_now(self.runner))

    def _report_unreadable(self, position: int) -> None:
        """Say which images of the epoch, from that batch on, could not be read by any rank."""
        rank, world_size = get_dist_info()
        found = gather_unreadable(self._unreadable, world_size > 1)
        self._unreadable = {}
        if rank == 0:
            path = Path(self.runner.work_dir) / UNREADABLE_FILE
            all_in = ''
            if len(found) > SHOWN:
                lines = ''.join(f'{one}\n' for one in found.values()).encode(errors='surrogateescape')
                with suppress(StorageError):  # a training does not fail for its list
                    write_atomically(path, lambda file: file.write(lines))
                    all_in = f'; all are in {path}'
            since = f', from its batch {position + 1} on' if position else ''
            instead = ', others were drawn in their place' if found else ''
            say = self.runner.logger.warning if found else self.runner.logger.info
            say(
                f'epoch {self._epoch + 1}{since}: {len(found):,} images could not be read{instead}{all_in}'
                f'{list_first(found.values())}'
            )

    def _position(self) -> int:
        """Batches of the epoch that are done."""
        return self._iter - self._epoch * len(self.dataloader)

    def _validate(self) -> None:
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is None or self._epoch < self.val_begin or not due:
            return
        if self._saver.saved_iter != self._iter:  # there is something to lose: leave after it
            self.runner.val_loop.run()
        else:
            with raised_signals():
                if self._signals:
                    raise Stopped(self._signals[0])
                self.runner.val_loop.run()


class Agreement:
    """Ranks get a signal at different moments, but must leave after the same step.

    With several ranks, each step exchanges one number beside the computation: what was received until its beginning.

    Args:
        signals: Fills up as signals are received.
    """

    def __init__(self, signals: list[int]) -> None:
        self._signals = signals
        # Numbers on the CPU, whatever the gradients' backend is.
        self._group = dist.new_group(backend='gloo') if dist.is_initialized() else None

    def begin(self) -> None:
        if self._group is not None:
            self._signum = torch.tensor(max(self._signals, default=0))
            self._exchange = dist.all_reduce(self._signum, dist.ReduceOp.MAX, self._group, async_op=True)

    def end(self) -> int:
        """The signal that a rank received, the same on all ranks; 0 for none."""
        if self._group is None:
            return max(self._signals, default=0)
        self._exchange.wait()
        return int(self._signum)
