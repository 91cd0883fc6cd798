"""Class folders in a config: the training images' folders say what the classes are, for every part and for the head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmengine.config import Config

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.folders import class_names, image_folder

OURS = 'mmrazor_bignas.ClassFolders'
# mmcls's number a part's classes by its own folders, so that one without images shifts those behind it.
THEIRS = ('ImageNet', 'mmcls.ImageNet', 'CustomDataset', 'mmcls.CustomDataset')
IMAGENET_CLASSES = 1000
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
NUM_CLASSES = 'algorithm.architecture.head.num_classes'


def fit_class_folders(cfg: Config, path: str) -> None:
    """Number the classes of all data sets in class folders by the training images' folders, in place.

    Such data sets become :class:`~mmrazor_bignas.datasets.class_folders.ClassFolders`, and a head that leaves
    ``num_classes`` open gets the number of the folders. A config whose training images are not in class folders, or not
    on this machine, is left as it is.

    Args:
        cfg: The config of a training, search or test.
        path: Its file, for messages.

    Raises:
        InputError: ``num_classes`` is another number than that of the folders, or open and they are missing.
    """
    calibrations = [cfg.get(key, {}).get('calibrate_dataloader') for key in ('val_cfg', 'test_cfg') if cfg.get(key)]
    loaders = [cfg.get(key) for key in DATALOADERS]
    training = loaders[0] or next(filter(None, calibrations), None)
    folders = list(dict.fromkeys(image_folder(part) for part in _in_class_folders(training)))
    head = cfg.algorithm.get('architecture', {}).get('head')
    is_open = isinstance(head, Mapping) and head.get('num_classes') is None
    try:
        names = class_names(folders)
    except InputError as error:
        if is_open:
            raise InputError(f'{path}: {NUM_CLASSES} is not set, and there is nothing to count: {error}') from error
        return  # the data set will say so, if it is used
    if not names:
        return
    for part in _in_class_folders([*loaders, *calibrations]):
        # ImageNet itself keeps mmcls's names of the classes.
        if part['type'] == OURS or 'ImageNet' not in part['type'] or len(names) != IMAGENET_CLASSES:
            part['type'] = OURS
            part.setdefault('classes_from', folders)
    if is_open:
        head['num_classes'] = len(names)
    elif isinstance(head, Mapping) and head['num_classes'] != len(names):
        raise InputError(
            f'{path}: {NUM_CLASSES} is {head["num_classes"]}, but {", ".join(folders)} has {len(names)} class folders: '
            f'set it to {len(names)}, or to None to count them'
        )


def _in_class_folders(part: object) -> Iterator[dict]:
    """The configs of data sets in class folders somewhere in a part of a config."""
    if isinstance(part, Mapping):
        named = part.get('ann_file') or part.get('classes') or (part.get('metainfo') or {}).get('classes')
        if part.get('type') in (OURS, *THEIRS):
            if not named:
                yield part
            return
        part = list(part.values())
    if isinstance(part, Sequence) and not isinstance(part, str):
        for item in part:
            yield from _in_class_folders(item)
