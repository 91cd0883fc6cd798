"""BatchCache: decoded batches for later passes, in memory up to a bound and beyond it in a memory-mapped file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 16  # bytes; of any type of numbers


class BatchCache:
    """Batches as a data loader gives them, whose ``inputs`` are a tensor or a list of tensors on the CPU.

    The file has no name any more when it is used: the system removes it with the process, however that ends.

    Args:
        memory_bytes: Bound of the images kept in memory.
        folder: Where the file is; None for the system's folder of temporary files.
    """

    def __init__(self, memory_bytes: int, folder: str | None = None) -> None:
        self.memory_bytes, self.folder = memory_bytes, folder
        self.used = self.spilled = 0
        self._batches: list[Callable[[], dict]] = []
        self._file = None

    def __iter__(self) -> Iterator[dict]:
        return (batch() for batch in self._batches)

    def add(self, batch: dict) -> None:
        """Keep a batch.

        Raises:
            OSError: The file cannot be written: the folder is missing or full.
        """
        inputs = batch['inputs']
        images = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        size = sum(image.nbytes for image in images)
        if self.used + size <= self.memory_bytes:
            self.used += size
            # What a worker gave holds a file descriptor for every tensor, of which a process has few.
            images = [image.clone() if image.is_shared() else image for image in images]
            kept = partial(list, images)
        else:
            kept = self._on_disk(images)
            self.spilled += size
        stacked = isinstance(inputs, Tensor)
        rest = {key: value for key, value in batch.items() if key != 'inputs'}
        self._batches.append(lambda: {'inputs': kept()[0] if stacked else kept(), **rest})

    def _on_disk(self, images: list[Tensor]) -> Callable[[], list[Tensor]]:
        """Writes the images; maps them into memory each time they are used, since every map holds a file descriptor."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  open as long as the cache
        start = self._file.seek(0, 2)
        lengths = [-(-image.nbytes // ALIGNMENT) * ALIGNMENT for image in images]
        for image, length in zip(images, lengths, strict=True):
            self._file.write(image.contiguous().numpy().tobytes().ljust(length, b'\0'))
        self._file.flush()
        kinds = [(image.nbytes, image.dtype, image.shape) for image in images]

        def load() -> list[Tensor]:
            # Copy on write, since torch's tensors can be written.
            mapped = torch.from_numpy(np.memmap(self._file, np.uint8, 'c', start, (sum(lengths),)))
            return [
                part[:size].view(dtype).view(shape)
                for part, (size, dtype, shape) in zip(mapped.split(lengths), kinds, strict=True)
            ]

        return load
