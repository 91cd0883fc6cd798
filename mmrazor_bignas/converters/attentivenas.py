"""AttentiveNAS (arXiv:2011.09011) and AlphaNet (arXiv:2102.07954), which name tensors alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmrazor_bignas.converters.conversion import Project

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


def our_key(key: str, depths: Sequence[int]) -> str | None:
    """Our key; blocks are numbered through all stages there, within their stage here."""
    module, _, name = key.rpartition('.')
    if match := re.fullmatch(r'blocks\.(\d+)\.(.+)', module):
        index = int(match[1])
        for stage, depth in enumerate(depths):
            if index < depth:
                part = _BLOCK_PARTS.get(match[2])
                return part and f'backbone.stages.{stage}.{index}.{part}.{name}'
            index -= depth
        return None
    part = _OTHER_PARTS.get(module)
    return part and f'{part}.{name}'


def carries_nothing(key: str) -> str | None:
    if re.search(r'\.bn_tracking\.\d+\.(running_mean|running_var|num_batches_tracked)$', key):
        return 'statistics kept per number of channels (bn_tracking), which calibration replaces'
    return None


ATTENTIVENAS = Project(
    name='AttentiveNAS or AlphaNet',
    anchor='first_conv.conv.conv.weight',
    static_anchor='blocks.0.mobile_inverted_conv.depth_conv.conv.weight',
    our_key=our_key,
    carries_nothing=carries_nothing,
)
