"""A folder per class: where it is, and which classes there are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmrazor_bignas.errors import InputError


def class_names(folders: Sequence[str]) -> list[str]:
    """The names of all class folders in some folders, sorted; hidden ones are none.

    Raises:
        InputError: A folder is missing or has no folders.
    """
    names = set()
    for folder in folders:
        try:
            found = {entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith('.')}
        except OSError as error:
            raise InputError(f'{folder}: {error.strerror}; expected a folder that has one per class in it') from error
        if not found:
            raise InputError(f'{folder}: has no folders; expected one per class, with its images')
        names |= found
    return sorted(names)


def image_folder(cfg: Mapping) -> str:
    """Where a data set's config says that its images are."""
    prefix = cfg.get('data_prefix') or ''
    prefix = prefix.get('img_path', '') if isinstance(prefix, Mapping) else prefix
    return str(Path(cfg.get('data_root') or '', Path(prefix).expanduser()))
