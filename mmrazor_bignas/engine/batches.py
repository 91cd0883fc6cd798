"""FixedBatches: the same batches of the same images, each time and on any number of ranks."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from tempfile import gettempdir
from types import MappingProxyType

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmrazor_bignas.engine.batch_cache import BatchCache
from mmrazor_bignas.engine.datasets import build_dataset
from mmrazor_bignas.engine.randomness import kept_generators, seed_cpu
from mmrazor_bignas.engine.signals import outlive_signals
from mmrazor_bignas.engine.unreadable import Unreadable, gather_unreadable, list_first, load_image
from mmrazor_bignas.errors import InputError

CACHE_BYTES = 4 * 2**30
UNREADABLE = 'unreadable'  # key of a batch
MOST_DRAWS = 20  # in a row for one image: by then the data set is at fault, not an image


class SeededDataset(Dataset):
    """A data set whose random augmentation is a function of a seed and of the item's key alone.

    Neither the number of workers nor what was drawn before changes an image.

    Args:
        dataset: A data set with indices from 0.
        seed: The seed.
        unreadable: What becomes of an image file that cannot be read: ``'error'``; ``'replace'`` draws another image in
            its place, as a function of seed and key; ``'leave out'``. Items then have an
            :class:`~mmrazor_bignas.engine.unreadable.Unreadable` for every such file among them.

    Raises:
        InputError: Of an item: its file cannot be read, or too many in a row that were drawn in its place.
    """

    def __init__(self, dataset: Dataset, seed: int, unreadable: str = 'error') -> None:
        self.dataset = dataset
        self.seed = seed
        self.unreadable = unreadable

    def __getitem__(self, key: int | tuple[int, int]) -> dict:
        """An item, by its index or by (epoch, index): each epoch augments anew."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> list[dict | Unreadable]:
        """The items of a batch, which torch's data loader asks for at once."""
        items = []
        with kept_generators():
            for key in keys:
                items += self._read(key if isinstance(key, tuple) else (key,))
        return items

    def _read(self, key: tuple[int, ...]) -> list[dict | Unreadable]:
        """An item, and what could not be read for it."""
        index = key[-1]
        seed_cpu(self.seed, *key)
        failed = []
        for _ in range(MOST_DRAWS):
            try:
                return [self.dataset[index], *failed]
            except Exception as error:  # of the decoder, it can be anything
                problem = load_image(self.dataset, index)
                if not isinstance(problem, Unreadable):
                    raise
                if self.unreadable == 'error' or not problem.of_the_file:
                    raise InputError(str(problem)) from error
                failed.append(problem)
            if self.unreadable == 'leave out':
                return failed
            index = random.randrange(len(self.dataset))  # of the same seed
        raise InputError(f'{MOST_DRAWS} images in a row cannot be read, the last is {failed[-1]}')

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def metainfo(self) -> dict:
        """The data set's own."""
        return self.dataset.metainfo


class FixedBatches:
    """Batches that never change: their images, augmentation and order depend on the arguments alone.

    Batches, not images, are dealt out to ranks, so that batch statistics do not depend on the number of ranks.

    Args:
        dataset: Config of the data set.
        batch_size: Images per batch; a last batch of a single image joins the one before it, since one image has no
            variance.
        num_images: None for all in their order, else as many, chosen by ``seed``; all where there are fewer.
        seed: Seed of choice and augmentation.
        rank: This process's share: every ``world_size``-th batch from ``rank`` on.
        world_size: Number of shares; 1 gives every process all batches.
        cache: Keep the batches after the first pass, so that every image is decoded once.
        cache_bytes: As many bytes of images are kept in memory, the rest in a memory-mapped file.
        cache_dir: Where that file is; None for the system's folder of temporary files.
        device: Where the network is that takes the batches; None for mmengine's choice, a GPU where there is one. For a
            GPU, batches are pinned, and kept on it first, before ``cache_bytes``, as far as their share of its memory
            goes (:class:`~mmrazor_bignas.engine.batch_cache.BatchCache`).
        collate_fn: Type of the function that makes a batch of its items: ``'pseudo_collate'`` takes images of any size,
            ``'default_collate'`` those of one size alone.
        skip_unreadable: Go on without image files that cannot be read, and count them
            (:meth:`count_unreadable`). With ``num_images`` another image is drawn in the place of each.
        **options: Of torch's DataLoader: ``num_workers``, ``persistent_workers``, ``prefetch_factor``, ...

    Raises:
        InputError: The data set is empty or cannot be built, or an option would change the order.
    """

    def __init__(
        self,
        dataset: dict,
        batch_size: int,
        num_images: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: bool = True,
        cache_bytes: int = CACHE_BYTES,
        cache_dir: str | None = None,
        device: torch.device | str | None = None,
        collate_fn: Mapping[str, str] = MappingProxyType({'type': 'pseudo_collate'}),
        skip_unreadable: bool = False,
        **options,
    ) -> None:
        if ordering := sorted({'sampler', 'batch_sampler', 'shuffle', 'drop_last'} & set(options)):
            raise InputError(f'data loader: {ordering} cannot be set here, evaluation and calibration fix the order')
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f'data loader: batch_size is {batch_size!r}; expected 1 or more')
        if num_images is not None and (type(num_images) is not int or num_images < 2):
            raise InputError(f'calibrate_sample_num is {num_images!r}; expected 2 or more images')
        if isinstance(cache_bytes, bool) or not isinstance(cache_bytes, int) or cache_bytes < 0:
            raise InputError(f'data loader: cache_bytes is {cache_bytes!r}; expected an integer of 0 or more')
        self.skip_unreadable = checked_skip(skip_unreadable)
        self.dataset = build_dataset(dataset)
        self.world_size = world_size
        order = list(range(len(self.dataset)))
        if num_images is not None:
            order = random.Random(f'{seed}/order').sample(order, min(num_images, len(order)))
        self.num_images = len(order)
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [batches[-2] + batches[-1]]
        self._batches = batches[rank::world_size]
        device = torch.device(device or get_device())
        self._instead = 'replace' if num_images is not None else 'leave out'
        self._loader = DataLoader(
            SeededDataset(self.dataset, seed, self._instead if skip_unreadable else 'error'),
            batch_sampler=self._batches,
            collate_fn=collate_function(collate_fn),
            pin_memory=device.type == 'cuda',
            worker_init_fn=outlive_signals,
            generator=torch.Generator().manual_seed(seed),  # else every pass draws from the global one
            **options,
        )
        self._unreadable: dict[str, Unreadable] = {}  # of the last pass that read images
        self._reported = False
        self._kept: BatchCache | None = None  # of a whole pass
        self._new_cache = partial(BatchCache, cache_bytes, cache_dir, device) if cache else None

    def __len__(self) -> int:
        """How many batches this rank gets."""
        return len(self._batches)

    def __iter__(self) -> Iterator[dict]:
        if self._kept is not None:
            yield from self._kept
            return
        cache = self._new_cache() if self._new_cache else None
        self._unreadable = {}
        for batch in self._loader:
            self._unreadable |= take_unreadable(batch)
            if not len(batch['inputs']):
                continue
            if cache is not None:
                try:
                    batch = cache.add(batch)
                except OSError as error:
                    print_log(
                        f'images cannot be kept in {cache.folder or gettempdir()}: {error.strerror}; all are decoded '
                        'anew each time. cache_dir names another folder, and a larger cache_bytes (now '
                        f'{cache.memory_bytes:,}) keeps more in memory',
                        logger='current',
                        level=logging.WARNING,
                    )
                    cache = self._new_cache = None
            yield batch
        self._kept = cache

    def count_unreadable(self) -> int:
        """How many image files could not be read, after a pass; the first time, a warning lists them.

        Where ranks share the batches, all of them must call it, and get the number of all.

        Raises:
            InputError: No image could be read.
        """
        found = gather_unreadable(self._unreadable, self.world_size > 1)
        if len(found) >= len(self.dataset):
            raise InputError(
                f'none of {len(self.dataset):,} images can be read, the first is {next(iter(found.values()))}'
            )
        if found and not self._reported:
            what, instead = {
                'replace': ('calibration', 'others were drawn in their place'),
                'leave out': ('evaluation', 'the result leaves them out'),
            }[self._instead]
            of_all = f'{len(found):,} images of {len(self.dataset):,} cannot be read'
            print_log(
                f'{what}: {of_all}, {instead}{list_first(found.values())}',
                logger='current',
                level=logging.WARNING,
            )
            self._reported = True
        return len(found)


def checked_skip(skip_unreadable: object) -> bool:
    """The value of a data loader's ``skip_unreadable``.

    Raises:
        InputError: It is no switch.
    """
    if not isinstance(skip_unreadable, bool):
        raise InputError(f'data loader: skip_unreadable is {skip_unreadable!r}; expected True or False')
    return skip_unreadable


def take_unreadable(batch: dict) -> dict[str, Unreadable]:
    """What could not be read for a batch, by path; the batch is then as others are."""
    return {one.path: one for one in batch.pop(UNREADABLE, ())}


def collate_function(cfg: Mapping[str, str]) -> Callable[[list], dict]:
    """What makes a batch of items, from its config; images of one size become one tensor.

    Raises:
        InputError: The config names no such function.
    """
    named = isinstance(cfg, Mapping) and set(cfg) == {'type'} and isinstance(cfg['type'], str)
    function = FUNCTIONS.get(cfg['type']) if named else None
    if function is None:
        raise InputError(
            f"data loader: collate_fn is {dict(cfg) if named else cfg!r}; expected dict(type='pseudo_collate') or "
            "dict(type='default_collate')"
        )
    return partial(_collate, function)


def _collate(function: Callable[[list], dict], items: list[dict | Unreadable]) -> dict:
    if failed := [item for item in items if isinstance(item, Unreadable)]:
        read = [item for item in items if not isinstance(item, Unreadable)]
        batch = _collate(function, read) if read else {'inputs': [], 'data_samples': []}
        return {**batch, UNREADABLE: failed}
    try:
        batch = function(items)
    except RuntimeError as error:
        sizes = sorted({str(tuple(item['inputs'].shape)) for item in items})
        raise InputError(
            f'data loader: images of the sizes {sizes} cannot be stacked; resize or crop them to one, or set '
            "collate_fn=dict(type='pseudo_collate')"
        ) from error
    images = batch['inputs']
    if not isinstance(images, Tensor) and len({(image.shape, image.dtype) for image in images}) == 1:
        batch['inputs'] = torch.stack(images)  # normalised at once later on, not one by one
    return batch
