"""MMRazor's BigNAS."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmrazor_bignas.converters.conversion import Project

_BLOCK_PARTS = {
    'expand_conv.conv': 'expand.conv',
    'expand_conv.bn': 'expand.bn',
    'depthwise_conv.conv': 'depthwise.conv',
    'depthwise_conv.bn': 'depthwise.bn',
    'se.conv1.conv': 'se.reduce',
    'se.conv2.conv': 'se.expand',
    'linear_conv.conv': 'project.conv',
    'linear_conv.bn': 'project.bn',
    'shortcut.conv': 'shortcut',
}
_OTHER_PARTS = {
    'backbone.first_conv.conv': 'backbone.stem.conv',
    'backbone.first_conv.bn': 'backbone.stem.bn',
    'backbone.last_conv.final_expand_layer.conv': 'backbone.head_expand.conv',
    'backbone.last_conv.final_expand_layer.bn': 'backbone.head_expand.bn',
    'backbone.last_conv.feature_mix_layer.conv': 'backbone.head_mix',
    'head.fc': 'head.fc',
}


def our_key(key: str, depths: Sequence[int]) -> str | None:
    """Our key; stages count from 1 there."""
    module, _, name = key.rpartition('.')
    if match := re.fullmatch(r'backbone\.layer(\d+)\.(\d+)\.(.+)', module):
        stage, index, part = int(match[1]) - 1, int(match[2]), _BLOCK_PARTS.get(match[3])
        known = part and 0 <= stage < len(depths) and index < depths[stage]
        return f'backbone.stages.{stage}.{index}.{part}.{name}' if known else None
    part = _OTHER_PARTS.get(module)
    return part and f'{part}.{name}'


def carries_nothing(key: str) -> str | None:
    if re.search(r'mutable\w*\.(.+\.)?mask$', key):
        return 'masks of mutables, which say what was chosen last'
    return None


MMRAZOR = Project(
    name='MMRazor',
    anchor='backbone.first_conv.conv.weight',
    static_anchor=None,  # its subnets have the same names
    our_key=our_key,
    carries_nothing=carries_nothing,
)
