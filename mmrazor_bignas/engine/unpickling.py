"""Tensors out of a file that also holds pickled objects, without running anything that the file names."""

from __future__ import annotations

import os
import pickle
import re

import torch

MOST_CLASSES = 200


class LeftOut:
    """Stands where an object of another class would be, and keeps nothing of it."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def load_tensors_only(path: str | os.PathLike, **options) -> object:
    """torch.load with ``weights_only=True``, where a :class:`LeftOut` stands for what it does not know.

    torch's reader of weights builds nothing but tensors and plain containers. Each name that it refuses is given to it
    as an idle class, until it refuses none. What it never takes, such as names of ``os``, stays refused.

    Args:
        path: The file.
        **options: Of torch.load.

    Raises:
        UnpicklingError: An object is of a kind that cannot be left out.
    """
    stand_ins: dict[str, type] = {}
    while True:
        try:
            with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in stand_ins.items()]):
                return torch.load(path, weights_only=True, **options)
        except pickle.UnpicklingError as error:
            name = refused_name(error)
            if name is None or name in stand_ins or len(stand_ins) == MOST_CLASSES:
                raise
            stand_ins[name] = type('LeftOut', (LeftOut,), {})


def refused_name(error: pickle.UnpicklingError) -> str | None:
    """The class or function that torch's reader of weights refused, with its module; None where that was not it."""
    match = re.search(r'Unsupported global: GLOBAL (\S+) was not an allowed global', str(error))
    if match is None:
        return None
    return match[1] if '.' in match[1] else f'builtins.{match[1]}'
