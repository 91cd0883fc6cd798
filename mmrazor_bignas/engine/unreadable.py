"""Images that cannot be read: which, and why."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.dist import all_gather_object
from torch.utils.data import Dataset

SHOWN = 10  # in a log
_WORDS = {errno.ENOENT: 'no such file', errno.EISDIR: 'is a folder, not a file'}
# Of a file's own; others, such as a network disk's that is gone, befall every file.
_OF_THE_FILE = (None, *_WORDS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Unreadable(NamedTuple):
    """An image file that a data set names and cannot load.

    Attributes:
        path: The file.
        reason: What is wrong, in words.
        of_the_file: Whether it is the file; else a fault of the system, which may be over at the next try.
    """

    path: str
    reason: str
    of_the_file: bool = True

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}'


def load_image(dataset: Dataset, index: int) -> np.ndarray | Unreadable | None:
    """An image as the data set's own pipeline loads it, or what is wrong with its file.

    An image is (height, width, 3) in BGR, or (height, width). None where the data set shows none before its pipeline is
    through.
    """
    dataset, index = innermost(dataset, index)
    if not hasattr(dataset, 'get_data_info'):
        return None
    results = dataset.get_data_info(index)
    path = results.get('img_path')
    try:
        for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', []):
            if 'img' in results:
                break
            results = step(results)
    except Exception as error:  # of the decoder, it can be anything
        if path is None or isinstance(error, MemoryError):
            raise
        number = error.errno if isinstance(error, OSError) else None
        return Unreadable(str(path), _reason(str(path), error), number in _OF_THE_FILE)
    return results.get('img')


def innermost(dataset: Dataset, index: int) -> tuple[Dataset, int]:
    """The data set inside mmengine's wrappers (of several, repeated, balanced ones) that has an item, and where."""
    while hasattr(dataset, '_get_ori_dataset_idx'):
        place = dataset._get_ori_dataset_idx(index)
        if isinstance(place, tuple):
            dataset, index = dataset.datasets[place[0]], place[1]
        else:
            dataset, index = dataset.dataset, place
    return dataset, index


def gather_unreadable(found: Mapping[str, Unreadable], several_ranks: bool) -> dict[str, Unreadable]:
    """What this rank found or, where all ranks call it, what all of them found; by path."""
    shares = all_gather_object(dict(found)) if several_ranks else [found]
    return dict(sorted(item for share in shares for item in share.items()))


def list_first(found: Iterable[object]) -> str:
    """Lines for a log, of the first few of many."""
    found = list(found)
    lines = [f'\n  {one}' for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f'\n  and {len(found) - SHOWN:,} more')
    return ''.join(lines)


def _reason(path: str, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number is not None:
        return _WORDS.get(number, error.strerror or type(error).__name__)
    file = Path(path)
    if file.is_file() and file.stat().st_size == 0:
        return 'the file is empty'
    # mmcv's words for what OpenCV gave back, and OpenCV's own, name no reason.
    vague = isinstance(error, (AssertionError, cv2.error)) or not str(error)
    words = 'no image, or cut off' if vague else ' '.join(str(error).split())
    return f'cannot be decoded as an image: {words}'
