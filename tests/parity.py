"""Reads tests/data/parity: weights and outputs of an independent implementation in a reduced space."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mmrazor_bignas.converters import ATTENTIVENAS, convert

DATA = Path(__file__).parent / 'data' / 'parity'
RTOL = 1e-4


def keys(project: str) -> list[tuple[str, list[int], str]]:
    """Every key of the full space's supernet in ``attentivenas`` or ``mmrazor``, with shape and type."""
    return json.loads((DATA / f'{project}_keys.json').read_text())


def official_state() -> dict[str, torch.Tensor]:
    """The reference weights of the reduced space under AttentiveNAS's keys."""
    archive = np.load(DATA / 'reduced_state.npz')
    state = {}
    for key, shape, dtype, offset in json.loads(archive['index'].tobytes()):
        size = int(np.prod(shape)) if shape else 1
        value = archive['flat'][offset : offset + size].astype(dtype).reshape(shape)
        state[key] = torch.from_numpy(value.copy())
    return state


def mmrazor_key(key: str, depths: list[int]) -> str:
    """MMRazor's name of what AttentiveNAS calls ``key``."""
    for theirs, ours in (
        (r'mobile_inverted_conv\.', ''),
        ('inverted_bottleneck', 'expand_conv'),
        (r'depth_conv\.se\.fc\.reduce', 'se.conv1.conv'),
        (r'depth_conv\.se\.fc\.expand', 'se.conv2.conv'),
        ('depth_conv', 'depthwise_conv'),
        ('point_linear', 'linear_conv'),
        (r'conv\.conv\.', 'conv.'),
        (r'bn\.bn\.', 'bn.'),
        (r'classifier\.linear\.linear', 'head.fc'),
    ):
        key = re.sub(theirs, ours, key)
    if key.startswith('blocks.'):
        _, index, rest = key.split('.', 2)
        places = [(stage, i) for stage, depth in enumerate(depths, start=1) for i in range(depth)]
        key = 'layer{}.{}.{}'.format(*places[int(index)], rest)
    return f'architecture.{key}' if key.startswith('head') else f'architecture.backbone.{key}'


def load_outputs() -> tuple[dict, dict[str, torch.Tensor]]:
    """The reference's numbers: the JSON part and the array part."""
    archive = np.load(DATA / 'reduced_ref.npz')
    meta = json.loads((DATA / 'reduced_ref.json').read_text())
    return meta, {key: torch.from_numpy(archive[key]) for key in archive.files}


def images(n: int, side: int, seed: int) -> torch.Tensor:
    """(n, 3, side, side) normal noise, the same everywhere."""
    return torch.from_numpy(np.random.RandomState(seed).randn(n, 3, side, side).astype(np.float32))


def relative_error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest deviation over the reference's largest magnitude."""
    scale = reference.abs().max().clamp(min=1e-12)
    return float((ours.double() - reference.double()).abs().max() / scale)


def space_rows(meta: dict) -> dict:
    """The reduced search space as our table."""
    rows = meta['supernet']
    stages = [
        {
            'name': name,
            'width': rows[name]['c'],
            'depth': rows[name]['d'],
            'kernel_size': rows[name]['k'],
            'expand_ratio': rows[name]['t'],
            'stride': rows[name]['s'],
            'se': rows[name]['se'],
        }
        for name in (f'mb{i}' for i in range(1, 8))
    ]
    return {
        'resolution': rows['resolutions'],
        'stem': rows['first_conv']['c'],
        'stages': stages,
        'head': rows['last_conv']['c'],
    }


def converted(classifier: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The reference weights of the reduced space under our keys."""
    return convert(official_state(), ATTENTIVENAS, classifier, 'reduced_state.npz').state


def load(classifier: torch.nn.Module, only: Callable[[str], bool] = lambda key: True) -> None:
    """Fill a classifier of the reduced space with the reference's weights (those whose key ``only`` accepts)."""
    reference = converted(classifier)
    state = classifier.state_dict()
    classifier.load_state_dict({key: reference[key] if only(key) else value for key, value in state.items()})


META, OUTPUTS = load_outputs()
ARCHITECTURE = {
    'type': 'mmrazor_bignas.SearchableImageClassifier',
    'backbone': {'type': 'mmrazor_bignas.AttentiveMobileNetV3', 'search_space': space_rows(META)},
    'head': {
        'type': 'mmrazor_bignas.DynamicLinearClsHead',
        'num_classes': META['n_classes'],
        'loss': {'type': 'mmrazor_bignas.LabelSmoothCrossEntropy', 'label_smoothing': 0.1},
    },
}


class Batches(list):
    """Batches of images in the form of a data loader's, all of them on every rank."""

    world_size = 1
    skip_unreadable = False

    def __init__(self, batches: list[torch.Tensor]) -> None:
        super().__init__({'inputs': batch} for batch in batches)
