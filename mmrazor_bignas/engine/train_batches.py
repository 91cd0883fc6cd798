"""The batches of training: a function of (seed, epoch, position), so that training goes on within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from mmengine.runner import Runner
from torch.utils.data import BatchSampler, DataLoader, Sampler

from mmrazor_bignas.engine.batches import SeededDataset, checked_skip, collate_function
from mmrazor_bignas.engine.datasets import build_dataset
from mmrazor_bignas.engine.signals import outlive_signals
from mmrazor_bignas.errors import InputError


class EpochBatchSampler(Sampler):
    """Batches of (epoch, index) keys, from a position in an epoch on.

    Args:
        sampler: Gives an epoch's indices; ``set_epoch``, where it has one, tells it which.
        batch_size: Images per batch.
        drop_last: Leave out a last batch that is smaller.
        multiple: The epoch has a multiple of as many batches; the rest is left out. With gradient accumulation an
            optimizer step then never spans two epochs.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False, multiple: int = 1) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.multiple = multiple
        self._batches = BatchSampler(sampler, batch_size, drop_last)
        self.begin(epoch=0, position=0)

    def begin(self, epoch: int, position: int) -> None:
        """Say where the next iteration begins.

        Args:
            epoch: Number of the epoch, from 0.
            position: Batches of it to leave out, which were done before.
        """
        self.epoch, self.position = epoch, position
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for indices in islice(self._batches, self.position, len(self)):
            yield [(self.epoch, index) for index in indices]

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self._batches) // self.multiple * self.multiple


def build_train_loader(dataloader: dict, seed: int, accumulate: int = 1) -> DataLoader:
    """A training data loader from mmengine's kind of config.

    Args:
        dataloader: ``dataset``, ``batch_size``, ``sampler`` and options of torch's DataLoader; ``skip_unreadable`` to
            draw another image in the place of each that cannot be read.
        seed: Seed of order and augmentation.
        accumulate: Batches per optimizer step.

    Raises:
        InputError: The data set cannot be built, or leaves no batch; a key is missing, out of range, or would change
            what is resumed.
    """
    if own := sorted({'batch_sampler', 'worker_init_fn', 'shuffle'} & set(dataloader)):
        raise InputError(f'train_dataloader: {own} cannot be set here; choose the order with sampler')
    if missing := sorted({'dataset', 'batch_size', 'sampler'} - set(dataloader)):
        raise InputError(f'train_dataloader: has no {missing[0]}')
    batch_size = dataloader['batch_size']
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f'train_dataloader: batch_size is {batch_size!r}; expected an integer of 1 or more')
    dataloader = {'pin_memory': torch.cuda.is_available(), **dataloader}
    batching = {'drop_last': dataloader.pop('drop_last', False), 'multiple': accumulate}
    unreadable = 'replace' if checked_skip(dataloader.pop('skip_unreadable', False)) else 'error'
    dataset = build_dataset(dataloader['dataset'])
    loader = Runner.build_dataloader(
        {
            **dataloader,
            'dataset': SeededDataset(dataset, seed, unreadable),
            'batch_sampler': {'type': EpochBatchSampler, **batching},
            'collate_fn': collate_function(dataloader.get('collate_fn', {'type': 'pseudo_collate'})),
            'worker_init_fn': {'type': outlive_signals},
        },
        seed=seed,
    )
    if len(loader) == 0:
        left_out = 'drop_last leaves no batch' if accumulate == 1 else f'{accumulate} batches make a step'
        raise InputError(
            f'train_dataloader: batch_size is {batch_size}, but this process has '
            f'{len(loader.batch_sampler.sampler)} images, and {left_out}; choose a smaller batch_size'
        )
    return loader
