"""Fashion-MNIST, from wherever it lies."""

from __future__ import annotations

import fcntl
import gzip
import shutil
import warnings
from pathlib import Path

import numpy as np
from mmcls.datasets import FashionMNIST as MMClsFashionMNIST
from mmengine.dist import barrier, is_main_process

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import DATASETS

DEBIAN_FOLDER = Path('/usr/share/datasets/fashion-mnist')  # of the package dataset-fashion-mnist
FILES = ('train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 't10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte')


@DATASETS.register_module()
class FashionMNIST(MMClsFashionMNIST):
    """60,000 training and 10,000 test images of clothes in 10 classes (arXiv:1708.07747).

    Every item has ``img``, (28, 28, 3) uint8, before the pipeline.

    Args:
        data_prefix: Folder with the four files, packed (.gz) or not. What is missing there is unpacked from Debian's
            package dataset-fashion-mnist, or else downloaded.
        test_mode: Whether these are the test images.
        pipeline: Transforms; no loading is needed.
        **kwargs: Of mmcls's FashionMNIST.

    Raises:
        InputError: The files are nowhere, cannot be downloaded, or the folder cannot be written.
    """

    def load_data_list(self) -> list[dict]:
        folder = Path(self.data_prefix['root'])
        if is_main_process() and not self._check_exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with open(folder / '.lock', 'w') as lock:  # of another training
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    self._find(folder)
            except (OSError, EOFError, RuntimeError) as error:
                raise InputError(
                    f"Fashion-MNIST: {folder} has not the files {', '.join(FILES)}, Debian's package "
                    f'dataset-fashion-mnist is not installed ({DEBIAN_FOLDER}), and the download failed: {error}. '
                    'Install the package, or set data_prefix to a folder with the files (.gz will do).'
                ) from error
        barrier()
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='The given NumPy array is not writable')  # nothing writes to it
            return super().load_data_list()

    def _find(self, folder: Path) -> None:
        if self._check_exists() or any(unpack(folder, source) for source in (folder, DEBIAN_FOLDER)):
            return
        if not self.download:
            raise RuntimeError('download is False')
        self._download()

    def get_data_info(self, idx: int) -> dict:
        """One item, its image repeated in three channels."""
        info = super().get_data_info(idx)
        return {**info, 'img': np.repeat(info['img'][..., None], 3, axis=2), 'img_shape': info['img'].shape}


def unpack(folder: Path, source: Path) -> bool:
    """Whether ``source`` has the four packed files; they are unpacked into ``folder``."""
    if not all((source / f'{name}.gz').exists() for name in FILES):
        return False
    for name in FILES:
        part = folder / f'{name}.part'  # a killed run leaves no file that looks whole
        with gzip.open(source / f'{name}.gz') as packed, part.open('wb') as file:
            shutil.copyfileobj(packed, file)
        part.replace(folder / name)
    return True
