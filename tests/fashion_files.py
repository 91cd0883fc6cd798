"""Files as Fashion-MNIST's, with few images."""

import gzip
from pathlib import Path

import numpy as np


def write_fashion_files(folder: Path, **images: int) -> None:
    """Packed files of random images, ``train`` and ``t10k`` as many; the brighter, the larger the label."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, number in images.items():
        labels = np.arange(number, dtype=np.uint8) % 10
        pixels = rng.integers(0, 100, (number, 28, 28), dtype=np.uint8) + 15 * labels[:, None, None]
        for name, values in {'images-idx3': pixels, 'labels-idx1': labels}.items():
            (folder / f'{part}-{name}-ubyte.gz').write_bytes(gzip.compress(idx(values)))


def idx(values: np.ndarray) -> bytes:
    """The format of the files: magic number, sides, bytes."""
    sides = b''.join(side.to_bytes(4, 'big') for side in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sides + values.tobytes()
