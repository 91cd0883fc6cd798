"""Tensors out of a pickled file without running anything that the file names."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import torch

# What torch's own weights-only reader builds tensors with.
_TENSOR_PARTS = {
    ('collections', 'OrderedDict'),
    ('torch', 'Size'),
    ('torch._utils', '_rebuild_parameter'),
    ('torch._utils', '_rebuild_tensor'),
    ('torch._utils', '_rebuild_tensor_v2'),
}


class LeftOut:
    """Stands where an object of another class would; takes what a pickle does to an object, and does nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs) -> None: ...

    def __call__(self, *args, **kwargs):
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, value: object) -> None: ...

    def extend(self, values: object) -> None: ...

    def add(self, value: object) -> None: ...

    def update(self, values: object) -> None: ...


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _TENSOR_PARTS or (
            module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return super().find_class(module, name)
        return type(name, (LeftOut,), {'__module__': module})


def _load(file, **options) -> object:
    return _TensorUnpickler(file, **options).load()


# In the place of Python's pickle module: torch.load(..., weights_only=False, pickle_module=TENSORS_ONLY).
TENSORS_ONLY = SimpleNamespace(__name__='tensors_only', Unpickler=_TensorUnpickler, load=_load)
