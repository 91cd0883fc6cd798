"""Test oracle: the AttentiveNAS network, written from its published description and the key names of its checkpoints.

It deliberately shares no code with the package: plain functions over a state dict with the official keys, no modules.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def _stage(c: list[int], d: list[int], t: list[int], s: int, se: bool) -> dict[str, Any]:
    return {'c': c, 'd': d, 'k': [3, 5], 't': t, 's': s, 'act_func': 'swish', 'se': se}


FULL: dict[str, Any] = {
    'use_v3_head': True,
    'resolutions': [192, 224, 256, 288],
    'first_conv': {'c': [16, 24], 'act_func': 'swish', 's': 2},
    'mb1': _stage([16, 24], [1, 2], [1], 1, False),
    'mb2': _stage([24, 32], [3, 4, 5], [4, 5, 6], 2, False),
    'mb3': _stage([32, 40], [3, 4, 5, 6], [4, 5, 6], 2, True),
    'mb4': _stage([64, 72], [3, 4, 5, 6], [4, 5, 6], 2, False),
    'mb5': _stage([112, 120, 128], [3, 4, 5, 6, 7, 8], [4, 5, 6], 1, True),
    'mb6': _stage([192, 200, 208, 216], [3, 4, 5, 6, 7, 8], [6], 2, True),
    'mb7': _stage([216, 224], [1, 2], [6], 1, True),
    'last_conv': {'c': [1792, 1984], 'act_func': 'swish'},
}


def weights(keys: list[tuple[str, list[int], str]]) -> dict[str, Tensor]:
    """The parity material's tensors for ``[key, shape, dtype]`` rows: seeded by the key, exact in half precision."""
    state = {}
    for key, shape, dtype in keys:
        rng = np.random.RandomState((zlib.crc32(key.encode()) ^ 20210628) & 0xFFFFFFFF)
        if key.endswith('num_batches_tracked') or 'bn_tracking' in key:  # never read
            value = np.ones(shape) if key.endswith('running_var') else np.zeros(shape)
        elif key.endswith('running_var') or ('.bn.' in key and key.endswith('weight')):
            value = 0.5 + rng.rand(*shape)
        elif key.endswith(('running_mean', 'bias')):
            value = 0.1 * rng.randn(*shape)
        else:
            value = rng.randn(*shape) * np.sqrt(1.0 / np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(value).astype(np.float16).astype(dtype))
    return state


def _divisible(value: int) -> int:
    """The multiple of 8 nearest to ``value``, one more where that is below 0.9 of it."""
    rounded = max(8, (value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def _conv(state: Mapping[str, Tensor], key: str, x: Tensor, width: int, kernel: int = 1, **options: int) -> Tensor:
    """A convolution with the first channels and the central kernel; with a bias where the state has one."""
    weight, bias = state[f'{key}.weight'], state.get(f'{key}.bias')
    edge = (weight.shape[-1] - kernel) // 2
    inputs = x.shape[1] // options.get('groups', 1)
    weight = weight[:width, :inputs, edge : edge + kernel, edge : edge + kernel]
    return F.conv2d(x, weight, None if bias is None else bias[:width], padding=kernel // 2, **options)


def _norm(state: Mapping[str, Tensor], key: str, x: Tensor) -> Tensor:
    gamma, beta, mean, var = (
        state[f'{key}.{name}'][: x.shape[1]] for name in ('weight', 'bias', 'running_mean', 'running_var')
    )
    return F.batch_norm(x, mean, var, gamma, beta, training=False, eps=1e-5)


def _block(
    state: Mapping[str, Tensor], key: str, x: Tensor, width: int, kernel: int, expand: int, stride: int, stage: dict
) -> Tensor:
    conv, y, middle = f'{key}.mobile_inverted_conv', x, x.shape[1]
    if max(stage['t']) > 1:
        middle = _divisible(middle * expand)
        y = _conv(state, f'{conv}.inverted_bottleneck.conv.conv', y, middle)
        y = F.silu(_norm(state, f'{conv}.inverted_bottleneck.bn.bn', y))
    y = _conv(state, f'{conv}.depth_conv.conv.conv', y, middle, kernel, stride=stride, groups=middle)
    y = F.silu(_norm(state, f'{conv}.depth_conv.bn.bn', y))
    if stage['se']:
        gate = _conv(state, f'{conv}.depth_conv.se.fc.reduce', y.mean((2, 3), keepdim=True), _divisible(middle // 4))
        y = y * (F.relu6(_conv(state, f'{conv}.depth_conv.se.fc.expand', F.relu(gate), middle) + 3) / 6)
    y = _norm(state, f'{conv}.point_linear.bn.bn', _conv(state, f'{conv}.point_linear.conv.conv', y, width))
    if stride == 2:
        x = F.avg_pool2d(x, 2, 2, padding=x.shape[-1] % 2, count_include_pad=True)
    if x.shape[1] != width:
        x = _conv(state, f'{key}.shortcut.conv.conv', x, width)
    return x + y


def logits(state: Mapping[str, Tensor], rows: dict[str, Any], supernet: dict[str, Any], images: Tensor) -> Tensor:
    """The eval-mode logits of the subnet ``rows`` of a supernet, given as in ``FULL``, with the weights ``state``."""
    stem, *widths, head = rows['width']
    x = F.interpolate(images, size=(rows['resolution'],) * 2, mode='bicubic', align_corners=False, antialias=False)
    x = _conv(state, 'first_conv.conv.conv', x, stem, 3, stride=supernet['first_conv']['s'])
    x = F.silu(_norm(state, 'first_conv.bn.bn', x))
    start = 0
    for index, width in enumerate(widths):
        stage = supernet[f'mb{index + 1}']
        kernel, expand = rows['kernel_size'][index], rows['expand_ratio'][index]
        for block in range(rows['depth'][index]):
            stride = stage['s'] if block == 0 else 1
            x = _block(state, f'blocks.{start + block}', x, width, kernel, expand, stride, stage)
        start += max(stage['d'])  # blocks are numbered through all stages at their largest depth
    x = _conv(state, 'last_conv.final_expand_layer.conv.conv', x, 6 * x.shape[1])
    x = F.silu(_norm(state, 'last_conv.final_expand_layer.bn.bn', x)).mean((2, 3), keepdim=True)
    x = F.silu(_conv(state, 'last_conv.feature_mix_layer.conv.conv', x, head)).flatten(1)
    return F.linear(x, state['classifier.linear.linear.weight'][:, :head], state['classifier.linear.linear.bias'])
