"""Reads tests/data/parity: weights and outputs of an independent implementation in a reduced space."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / 'data' / 'parity'
RTOL = 1e-4

_BLOCK_PARTS = {
    'mobile_inverted_conv.inverted_bottleneck.conv.conv': 'expand.conv',
    'mobile_inverted_conv.inverted_bottleneck.bn.bn': 'expand.bn',
    'mobile_inverted_conv.depth_conv.conv.conv': 'depthwise.conv',
    'mobile_inverted_conv.depth_conv.bn.bn': 'depthwise.bn',
    'mobile_inverted_conv.depth_conv.se.fc.reduce': 'se.reduce',
    'mobile_inverted_conv.depth_conv.se.fc.expand': 'se.expand',
    'mobile_inverted_conv.point_linear.conv.conv': 'project.conv',
    'mobile_inverted_conv.point_linear.bn.bn': 'project.bn',
    'shortcut.conv.conv': 'shortcut',
}
_OTHER_PARTS = {
    'first_conv.conv.conv': 'backbone.stem.conv',
    'first_conv.bn.bn': 'backbone.stem.bn',
    'last_conv.final_expand_layer.conv.conv': 'backbone.head_expand.conv',
    'last_conv.final_expand_layer.bn.bn': 'backbone.head_expand.bn',
    'last_conv.feature_mix_layer.conv.conv': 'backbone.head_mix',
    'classifier.linear.linear': 'head.fc',
}


def our_key(key: str, depths: list[int]) -> str:
    """The classifier's name for a parameter of the reference, whose blocks are numbered through all stages."""
    module, name = key.rsplit('.', 1)
    if match := re.match(r'blocks\.(\d+)\.(.+)', module):
        index, part = int(match[1]), match[2]
        for stage, depth in enumerate(depths):
            if index < depth:
                return f'backbone.stages.{stage}.{index}.{_BLOCK_PARTS[part]}.{name}'
            index -= depth
    return f'{_OTHER_PARTS[module]}.{name}'


def load_state(depths: list[int]) -> dict[str, torch.Tensor]:
    """The reference weights under our keys, including shortcuts that never run."""
    archive = np.load(DATA / 'reduced_state.npz')
    state = {}
    for key, shape, dtype, offset in json.loads(archive['index'].tobytes()):
        if 'bn_tracking' in key:
            continue
        size = int(np.prod(shape)) if shape else 1
        value = archive['flat'][offset : offset + size].astype(dtype).reshape(shape)
        state[our_key(key, depths)] = torch.from_numpy(value.copy())
    return state


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


def load(classifier: torch.nn.Module, only: Callable[[str], bool] = lambda key: True) -> None:
    """Fill a classifier of the reduced space with the reference's weights (those whose key ``only`` accepts)."""
    state = classifier.state_dict()
    reference = load_state([max(stage.depth) for stage in classifier.search_space.stages])
    classifier.load_state_dict({key: reference[key] if only(key) else value for key, value in state.items()})


class Batches(list):
    """Batches of images in the form of a data loader's, all of them on every rank."""

    world_size = 1

    def __init__(self, batches: list[torch.Tensor]) -> None:
        super().__init__({'inputs': batch} for batch in batches)
