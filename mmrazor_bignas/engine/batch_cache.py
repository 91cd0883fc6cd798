"""BatchCache: decoded batches for later passes, on the GPU, in memory or in a memory-mapped file."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from weakref import WeakSet

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

ALIGNMENT = 16  # bytes; of any type of numbers
GPU_SHARE = 0.25  # of a GPU's memory, for all caches of a process together
GPU_RESERVE = 0.1  # of it stays free when they take theirs, for networks larger than the first one
CPU = torch.device('cpu')
_caches: WeakSet[BatchCache] = WeakSet()  # of this process; what a dropped cache took is free again


class BatchCache:
    """Batches as a data loader gives them, whose ``inputs`` are a tensor or a list of tensors on the CPU.

    Images are kept as they are (decoded, most often uint8) in the first place that has room for a batch: on the GPU,
    where a later pass then copies nothing; in memory, pinned if they came so; in a file. All else of a batch stays
    where it is. On the GPU, all caches of the process together take ``GPU_SHARE`` of its memory at most, and leave
    ``GPU_RESERVE`` of it free.

    The file has no name any more when it is used: the system removes it with the process, however that ends.

    Args:
        memory_bytes: Bound of the images kept in memory.
        folder: Where the file is; None for the system's folder of temporary files.
        device: Where the batches are used; a CPU has no memory of its own to keep them in.

    Attributes:
        on_gpu, used, spilled: Bytes on the GPU, in memory and in the file.
    """

    def __init__(self, memory_bytes: int, folder: str | None = None, device: torch.device = CPU) -> None:
        self.memory_bytes, self.folder, self.device = memory_bytes, folder, device
        self.on_gpu = self.used = self.spilled = 0
        self._batches: list[Callable[[], dict]] = []
        self._file = None
        _caches.add(self)

    def __iter__(self) -> Iterator[dict]:
        return (batch() for batch in self._batches)

    def add(self, batch: dict) -> dict:
        """Keep a batch; returns it, with its images on the GPU where they are kept there.

        Raises:
            OSError: The file cannot be written: the folder is missing or full. The cache is then of no more use.
        """
        stacked = isinstance(batch['inputs'], Tensor)
        images = [batch['inputs']] if stacked else list(batch['inputs'])
        if there := self._on_gpu(images):
            images, kept = there, partial(list, there)
        elif self.used + (size := sum(map(footprint, images))) <= self.memory_bytes:
            self.used += size
            # What a worker gave holds a file descriptor for every tensor, of which a process has few.
            kept = partial(list, [image.clone() if image.is_shared() else image for image in images])
        else:
            kept = self._on_disk(images)
        rest = {key: value for key, value in batch.items() if key != 'inputs'}

        def with_images(images: list[Tensor]) -> dict:
            return {'inputs': images[0] if stacked else images, **rest}

        self._batches.append(lambda: with_images(kept()))
        return with_images(images)

    def _on_gpu(self, images: list[Tensor]) -> list[Tensor] | None:
        """The images there; None where they do not fit."""
        size = sum(image.nbytes for image in images)
        free, total = gpu_memory(self.device)
        if sum(cache.on_gpu for cache in _caches) + size > GPU_SHARE * total or size > free - GPU_RESERVE * total:
            return None
        try:
            there = to_gpu(images, self.device)
        except torch.OutOfMemoryError:
            print_log(
                f'the GPU has no memory left for images ({self.on_gpu:,} bytes of them are there): the others stay in '
                'memory or in a file, and are copied for each candidate',
                logger='current',
                level=logging.WARNING,
            )
            self.device = CPU
            return None
        self.on_gpu += size
        return there

    def _on_disk(self, images: list[Tensor]) -> Callable[[], list[Tensor]]:
        """Writes the images; maps them into memory each time they are used, since every map holds a file descriptor."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  open as long as the cache
        start = self._file.seek(0, 2)
        lengths = [-(-image.nbytes // ALIGNMENT) * ALIGNMENT for image in images]
        try:
            for image, length in zip(images, lengths, strict=True):
                self._file.write(image.contiguous().numpy().tobytes().ljust(length, b'\0'))
            self._file.flush()
        except OSError:
            with suppress(OSError):  # what is left in its buffer cannot be written either; else Python says so later
                self._file.close()
            raise
        kinds = [(image.nbytes, image.dtype, image.shape) for image in images]
        self.spilled += sum(image.nbytes for image in images)

        def load() -> list[Tensor]:
            # Copy on write, since torch's tensors can be written.
            mapped = torch.from_numpy(np.memmap(self._file, np.uint8, 'c', start, (sum(lengths),)))
            return [
                part[:size].view(dtype).view(shape)
                for part, (size, dtype, shape) in zip(mapped.split(lengths), kinds, strict=True)
            ]

        return load


def gpu_memory(device: torch.device) -> tuple[int, int]:
    """Free bytes and all bytes of a GPU, whoever uses them; none of each where the device is a CPU."""
    return torch.cuda.mem_get_info(device) if device.type == 'cuda' else (0, 0)


def to_gpu(images: list[Tensor], device: torch.device) -> list[Tensor]:
    """Copies, which nobody waits for where the images are pinned."""
    return [image.to(device, non_blocking=True) for image in images]


def footprint(image: Tensor) -> int:
    """Bytes of memory that an image takes on the CPU; torch pins memory in powers of two."""
    return 1 << (image.nbytes - 1).bit_length() if image.is_pinned() else image.nbytes
