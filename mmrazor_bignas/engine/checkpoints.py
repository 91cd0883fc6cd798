"""Checkpoints: read without pickle, compared key by key, written whole or not at all."""

from __future__ import annotations

import os
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor
from torch.utils.data import Dataset

import mmrazor_bignas
from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.calibration import calibrate_batch_norm
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.engine.unpickling import load_tensors_only
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import SearchableImageClassifier, inherit_weights
from mmrazor_bignas.models.state import SHOWN_KEYS, SUPERNET_PREFIX, check_state
from mmrazor_bignas.search_space import SearchSpace

# What torch's reader of weights says of an object that it does not build.
_OBJECT_REFUSED = ('Unsupported global', 'GLOBAL', 'unrecognized function', 'Can only')
_FIRST_BYTES = (b'PK', b'\x80')  # of a zip archive, and of a pickle: torch's two formats


class PickledObjectsError(InputError):
    """A checkpoint holds objects that reading would run code for; says so, and nothing of what could be done."""


def read_checkpoint(
    path: str | os.PathLike,
    map_location: str | torch.device = 'cpu',
    head_only: bool = False,
    pickled: str | os.PathLike | None = None,
) -> dict:
    """The content of a checkpoint file: a dict with ``state_dict`` and ``meta``. Nothing is unpickled.

    Args:
        path: The file.
        map_location: Device of the tensors.
        head_only: Only map the tensors into memory: fast where just ``meta`` is of interest.
        pickled: A file that may run code when it is read, since the user trusts it. Where it is ``path``, pickle is
            allowed.

    Raises:
        InputError: The file is missing, a folder, cut off, no checkpoint, or needs pickle to be read.
    """
    trusted = pickled is not None and Path(path).exists() and Path(path).samefile(pickled)
    mmap = head_only and zipfile.is_zipfile(path)  # torch's old format cannot be mapped
    try:
        checkpoint = _load(path, torch.load, map_location=map_location, weights_only=not trusted, mmap=mmap)
    except PickledObjectsError as error:
        raise InputError(
            f'{error}. A released file of AttentiveNAS, AlphaNet or MMRazor is converted first: bignas convert. '
            f'For another one, if you trust its source: --allow-pickle {path} (in Python, '
            'allow_pickle=True)'
        ) from error
    return _with_state_dict(checkpoint, path)


def read_tensors(path: str | os.PathLike, skip_pickled: bool = False) -> dict:
    """:func:`read_checkpoint` for a file that other code wrote.

    Args:
        path: The file.
        skip_pickled: Read a file with pickled objects too, without them and without running any code of theirs; see
            :mod:`~mmrazor_bignas.engine.unpickling`.

    Raises:
        PickledObjectsError: The file holds pickled objects, which are not to be skipped or cannot be.
        InputError: As :func:`read_checkpoint`.
    """
    if skip_pickled:
        return _with_state_dict(_load(path, load_tensors_only, map_location='cpu'), path)
    return _with_state_dict(_load(path, torch.load, map_location='cpu', weights_only=True), path)


def _load(path: str | os.PathLike, load: Callable[..., object], **options) -> object:
    """``load(path, **options)`` with errors for a user."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: {"is a folder, not" if path.is_dir() else "no such"} checkpoint file')
    if tarfile.is_tarfile(path):
        raise InputError(f'{path}: a tar archive; expected a file of torch.save, version 0.1.10 or later')
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='.*TorchScript archive')
            return load(path, **options)
    except pickle.UnpicklingError as error:
        if any(words in str(error) for words in _OBJECT_REFUSED):
            raise PickledObjectsError(
                f'{path}: this checkpoint holds pickled objects and is not read, since reading it could run code'
            ) from error
        raise InputError(f'{path}: not a checkpoint') from error
    except (ImportError, AttributeError) as error:
        raise InputError(f'{path}: its pickled objects need code that is not installed: {error}') from error
    except Exception as error:  # of a damaged file, it can be anything
        if 'TorchScript archive' in str(error):
            raise InputError(f'{path}: a TorchScript archive; expected a checkpoint') from error
        with path.open('rb') as file:
            if not file.read(2).startswith(_FIRST_BYTES):
                raise InputError(f'{path}: not a checkpoint') from error
        raise InputError(f'{path}: unreadable or cut off ({type(error).__name__})') from error


def _with_state_dict(checkpoint: object, path: str | os.PathLike) -> dict:
    if not isinstance(checkpoint, dict):
        raise InputError(f'{path}: holds a {type(checkpoint).__name__}; expected a dict with state_dict')
    if 'state_dict' not in checkpoint:
        if not checkpoint or not all(isinstance(value, Tensor) for value in checkpoint.values()):
            raise InputError(f'{path}: has no state_dict; found {sorted(map(str, checkpoint))[:SHOWN_KEYS]}')
        checkpoint = {'state_dict': checkpoint}
    if not isinstance(checkpoint['state_dict'], Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in checkpoint['state_dict'].items()
    ):
        raise InputError(f'{path}: its state_dict does not map names to tensors')
    if not isinstance(checkpoint.setdefault('meta', {}), Mapping):
        raise InputError(f'{path}: its meta is no dict')
    return checkpoint


def read_local_files(pickled: str | os.PathLike | None = None) -> None:
    """Make mmengine read local checkpoints with :func:`read_checkpoint`.

    Args:
        pickled: The one file that may be unpickled.
    """

    def load_from_local(filename: str, map_location: str | None = None) -> dict:
        return read_checkpoint(filename, map_location or 'cpu', pickled=pickled)

    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)


read_local_files()


def load_subnet(
    static: SearchableImageClassifier,
    checkpoint: dict,
    source: str,
    calibration: Callable[[], FixedBatches | None],
    amp: bool = False,
) -> str:
    """Load a static network from an exported subnet's checkpoint, or cut it out of a supernet's and calibrate it.

    Args:
        static: The network to fill.
        checkpoint: See :func:`read_checkpoint`.
        source: The file's name, for messages.
        calibration: Makes the calibration batches, or None to leave the supernet's statistics; called for a
            supernet's checkpoint alone.
        amp: Whether to calibrate under bfloat16 autocast.

    Returns:
        What was found: ``'subnet'`` or ``'supernet'``.

    Raises:
        InputError: The checkpoint is of another network; see :func:`check_state`.
    """
    state = checkpoint['state_dict']
    if any(key.startswith(SUPERNET_PREFIX) for key in state):
        state = {key.removeprefix(SUPERNET_PREFIX): value for key, value in state.items()}
        check_state(static.twin(None), state, source)
        inherit_weights(static, state)
        batches = calibration()
        if batches is not None:
            calibrate_batch_norm(static, batches, amp)
        return 'supernet'
    check_subnet(static, checkpoint, source)
    check_state(static, state, source)
    static.load_state_dict(state)
    return 'subnet'


def check_subnet(static: SearchableImageClassifier, checkpoint: Mapping, source: str) -> None:
    """Compare a static network with the subnet that a checkpoint says it holds.

    Raises:
        InputError: It is another one.
    """
    trained_as = checkpoint['meta'].get('subnet')
    if trained_as is not None and trained_as != static.subnet.to_dict():
        raise InputError(
            f'{source}: holds another subnet than algorithm.mutable_cfg says\n'
            f'  checkpoint: {trained_as}\n  asked for:  {static.subnet.to_dict()}'
        )


def check_classes(
    checkpoint: Mapping,
    dataset: Dataset,
    source: str,
    consequence: str = 'accuracies are of no use unless both mean the same',
) -> str | None:
    """Compare the names of the classes that a network learnt with those of a data set; a warning where some differ.

    Args:
        checkpoint: See :func:`read_checkpoint`; one that names no classes fits all.
        dataset: What the network is evaluated or trained on.
        source: The file's name, for messages.
        consequence: The end of the warning.

    Raises:
        InputError: They are the same names in another order, so that every label means another class.
    """
    learnt = list((checkpoint['meta'].get('dataset_meta') or {}).get('classes') or ())
    found = list(getattr(dataset, 'metainfo', {}).get('classes') or ())
    if not learnt or not found or learnt == found:
        return None
    number = next((i for i, pair in enumerate(zip(learnt, found, strict=False)) if pair[0] != pair[1]), len(learnt))
    words = [repr(names[number]) if number < len(names) else 'none' for names in (learnt, found)]
    differ = f'{source}: class {number} is {words[0]}, in the data set it is {words[1]}'
    if sorted(learnt) == sorted(found):
        raise InputError(f'{differ}; expected the same order as in the training')
    return f'{differ}; {consequence}'


def subnet_checkpoint(
    static: SearchableImageClassifier, metrics: Mapping[str, float], classes: Sequence[str] | None = None
) -> dict:
    """A static network and all that is known of it, as plain numbers, names and tensors.

    Args:
        static: The network.
        metrics: What was measured of it.
        classes: Names of its classes, where they are known; kept where mmcls looks for them.
    """
    cost = static.cost()
    return {
        'state_dict': {key: value.cpu() for key, value in static.state_dict().items()},
        'meta': {
            **supernet_meta(static.search_space),
            'subnet': static.subnet.to_dict(),
            'num_classes': static.head.num_classes,
            'flops': cost.flops,
            'params': cost.params,
            'metrics': dict(metrics),
            **({'dataset_meta': {'classes': list(map(str, classes))}} if classes else {}),
        },
    }


def supernet_meta(space: SearchSpace) -> dict:
    """What every checkpoint of ours says of itself."""
    return {'mmrazor_bignas_version': mmrazor_bignas.__version__, 'search_space': space.to_dict()}


def save_atomically(content: dict, path: str | os.PathLike) -> None:
    """torch.save, whole or not at all; see :func:`~mmrazor_bignas.engine.storage.write_atomically`."""
    write_atomically(path, lambda file: torch.save(content, file))
