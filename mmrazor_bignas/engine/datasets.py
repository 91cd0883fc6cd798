"""Building data sets with errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.folders import class_names, image_folder

EMPTY = 'is empty, no image was found'


def build_dataset(cfg: dict):
    """The data set of a config, loaded.

    Raises:
        InputError: A file or folder is missing or unreadable, there is no image, or the pipeline would draw others
            in the place of unreadable ones without a word; names the data set and its paths.
    """
    if _ignores_empty(cfg):
        raise InputError(
            f'data set {describe(cfg)}: ignore_empty draws other images and does not say so; remove it, and set '
            'skip_unreadable=True of the data loader'
        )
    try:
        dataset = DATASETS.build(cfg)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
    except InputError:
        raise
    except (OSError, RuntimeError, AssertionError, ValueError, TypeError) as error:
        # What mmengine says of an empty list of images.
        problem = EMPTY if 'need at least one array' in str(error) else str(error)
        raise InputError(f'data set {describe(cfg)}: {problem}{_hint(cfg, error)}') from error
    if len(dataset) == 0:
        raise InputError(f'data set {describe(cfg)}: {EMPTY}')
    return dataset


def check_labels(dataset: Dataset, labels: np.ndarray, num_classes: int) -> int:
    """Compare the labels of training images with the classifier.

    Args:
        dataset: What they are of; names the classes.
        labels: (N,), integers.
        num_classes: Outputs of the classifier.

    Returns:
        How many outputs no image has.

    Raises:
        InputError: A label has no output, or a class below the largest label (or an empty class folder) no image.
    """
    if (smallest := int(labels.min())) < 0:
        raise InputError(f'training data: the smallest label is {smallest}; expected 0 or more')
    counts = np.bincount(labels)
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
    return int((counts == 0).sum())


def describe(cfg: dict) -> str:
    """Type and paths of a data set's config, innermost data set first asked."""
    cfg = innermost_config(cfg)
    paths = {key: cfg[key] for key in ('data_root', 'ann_file', 'data_prefix') if cfg.get(key)}
    return cfg.get('type', '') + (
        f' ({", ".join(f"{key}={value!r}" for key, value in paths.items())})' if paths else ''
    )


def innermost_config(cfg: dict) -> dict:
    """The config of the data set inside wrappers (splits, repeated, balanced ones) that has the images."""
    while isinstance(cfg.get('dataset'), dict):
        cfg = cfg['dataset']
    return cfg


def _hint(cfg: dict, error: Exception) -> str:
    """What to do where the list of images is missing, but their class folders are not."""
    cfg = innermost_config(cfg)
    listed = Path(cfg.get('ann_file') or '').name
    if not isinstance(error, FileNotFoundError) or Path(str(error.filename)).name != listed:
        return ''
    try:
        class_names([folder := image_folder(cfg)])
    except InputError:
        return ''
    return f"; {folder} has folders: if there is one per class, set ann_file to nothing ('')"


def _ignores_empty(part: object) -> bool:
    if isinstance(part, Mapping):
        return bool(part.get('ignore_empty')) or any(map(_ignores_empty, part.values()))
    return isinstance(part, Sequence) and not isinstance(part, str) and any(map(_ignores_empty, part))
