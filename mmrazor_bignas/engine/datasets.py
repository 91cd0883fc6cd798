"""Building data sets with errors that name the file."""

from __future__ import annotations

from mmengine.registry import DATASETS

from mmrazor_bignas.errors import InputError

EMPTY = 'is empty, no image was found'


def build_dataset(cfg: dict):
    """The data set of a config, loaded.

    Raises:
        InputError: A file or folder is missing or unreadable, or there is no image; names the data set and its paths.
    """
    try:
        dataset = DATASETS.build(cfg)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
    except InputError:
        raise
    except (OSError, RuntimeError, AssertionError, ValueError, TypeError) as error:
        # What mmengine says of an empty list of images.
        problem = EMPTY if 'need at least one array' in str(error) else str(error)
        raise InputError(f'data set {describe(cfg)}: {problem}') from error
    if len(dataset) == 0:
        raise InputError(f'data set {describe(cfg)}: {EMPTY}')
    return dataset


def describe(cfg: dict) -> str:
    """Type and paths of a data set's config, innermost data set first asked."""
    while isinstance(cfg.get('dataset'), dict):
        cfg = cfg['dataset']
    paths = {key: cfg[key] for key in ('data_root', 'ann_file', 'data_prefix') if cfg.get(key)}
    return cfg.get('type', '') + (
        f' ({", ".join(f"{key}={value!r}" for key, value in paths.items())})' if paths else ''
    )
