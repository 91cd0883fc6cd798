"""State dicts: compared with a network key by key, and fitted to one where a training begins with another's weights."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from math import ceil

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmrazor_bignas.errors import InputError

SUPERNET_PREFIX = 'architecture.'
HEAD_PREFIX = 'head.'
STEM = 'stem.conv.weight'
SHOWN_KEYS = 4


def check_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Compare a state dict with a model.

    Raises:
        InputError: A key is missing or unknown or has another shape; the first few are listed.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    differences = {
        key: f'{key}: expected {expected.get(key, "nothing")}, found {found.get(key, "nothing")}'
        for key in [*expected, *(key for key in found if key not in expected)]
        if expected.get(key) != found.get(key)
    }
    if not differences:
        return
    shown = '\n  '.join([*differences.values()][:SHOWN_KEYS])
    more = f'\n  and {len(differences) - SHOWN_KEYS} more' if len(differences) > SHOWN_KEYS else ''
    listed = f'{len(differences)} of {len(expected.keys() | found.keys())} keys differ:\n  {shown}{more}'
    is_supernet, wants_supernet = (any(key.startswith(SUPERNET_PREFIX) for key in keys) for keys in (found, expected))
    if set(differences) <= expected.keys() & found.keys() and all(map(in_head, differences)):
        classes, wanted = (shapes[next(iter(differences))][0] for shapes in (found, expected))
        raise InputError(
            f'{source}: not a checkpoint of this network: its head has {classes} classes, the one here {wanted}. '
            f'tools/train.py CONFIG --checkpoint {source} --new-head trains a new head on all else; {listed}'
        )
    hint = ''
    if len(expected.keys() & found.keys()) < len(found) / 2:
        hint = '; those of AttentiveNAS, AlphaNet and MMRazor are converted first: bignas convert'
        if is_supernet and not wants_supernet:
            hint = "; it is a supernet's, out of which tools/export_subnet.py cuts a subnet"
        elif wants_supernet and any(key.startswith('backbone.') for key in found):
            hint = "; it is one subnet's, a supernet begins with a supernet's"
    raise InputError(
        f'{source}: not a checkpoint of this network (another search space, number of classes or channels, or kind'
        f'{hint}); {listed}'
    )


def in_head(key: str) -> bool:
    """Whether a tensor is of the head, in a supernet or a network alone."""
    return key.removeprefix(SUPERNET_PREFIX).startswith(HEAD_PREFIX)


def with_new_head(model: nn.Module, state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], str]:
    """A state dict with the model's own head in the place of its own, and what to say of it."""
    left_out = [f'{key} {tuple(value.shape)}' for key, value in state.items() if in_head(key)]
    own = {key: value for key, value in model.state_dict().items() if in_head(key)}
    state = {key: value for key, value in state.items() if not in_head(key)} | own
    return state, f'{source}: not loaded, since the head is new: {", ".join(left_out) or "it has no head"}'


def with_stem_of(model: nn.Module, state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], str | None]:
    """A state dict whose stem fits images of the model's number of channels, and what to say if it was of another.

    Summed up for grey images, the stem does to them what it did to images of equal channels. Otherwise its channels are
    repeated in their order, scaled by the old number over the new, so that responses keep their size.
    """
    state = dict(state)
    own = model.state_dict()
    for key in state.keys() & own.keys():
        if not f'.{key}'.endswith(f'.{STEM}'):
            continue
        weight, channels = state[key], own[key].shape[1]
        old = weight.shape[1] if weight.ndim == own[key].ndim else channels
        if old == channels or weight.shape[:1] + weight.shape[2:] != own[key].shape[:1] + own[key].shape[2:]:
            continue
        if channels == 1:
            state[key], how = weight.sum(1, keepdim=True), 'summed up'
        else:
            repeated = weight.repeat(1, ceil(channels / old), 1, 1)[:, :channels]
            state[key], how = repeated * (old / channels), f'repeated, times {old}/{channels}'
        return state, (
            f"{source}: its stem takes images of {old} channels, this network's {channels}: its weights were {how}"
        )
    return state, None


def load_pretrained(
    backbone: nn.Module, checkpoint: str, prefix: str | None = None, map_location: str | torch.device = 'cpu'
) -> None:
    """Fill a backbone, or the first stages of one, with a checkpoint's weights.

    Args:
        backbone: The network.
        checkpoint: The file, or an address that mmengine can load.
        prefix: Of the backbone's keys in the file: ``'backbone.'`` in an exported subnet.
        map_location: Where the file is read to.

    Raises:
        InputError: The file has nothing under this prefix, or is of another network.
    """
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location, logger=None)
    state, prefix = content.get('state_dict', content), prefix or ''
    start = f'{prefix.rstrip(".")}.' if prefix else ''
    part = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
    if STEM not in part:
        places = sorted(key.removesuffix(STEM) for key in state if key.endswith(STEM))
        there = f'expected prefix={places[0]!r}' if places else 'it is no AttentiveMobileNetV3'
        raise InputError(f'init_cfg: {checkpoint}: has no {STEM} under prefix={prefix!r}; {there}')
    own = backbone.state_dict()
    # A detector's backbone ends with its last feature map.
    unused = [key for key in part if key not in own and beyond(key, own)]
    part, note = with_stem_of(backbone, {key: part[key] for key in part if key not in unused}, checkpoint)
    check_state(backbone, part, f'init_cfg: {checkpoint}')
    backbone.load_state_dict(part)
    left = f'; {len(unused)} tensors beyond the last feature map are not loaded' if unused else ''
    for line in filter(None, (note, f'{checkpoint}: loaded the backbone{left}')):
        print_log(line, logger='current', level=logging.INFO)


def beyond(key: str, own: Iterable[str]) -> bool:
    """Whether a tensor lies behind all of a backbone without head."""
    if any(one.startswith('head_') for one in own):
        return False
    stages = {one.split('.')[1] for one in own if one.startswith('stages.')}
    return key.startswith('head_') or (key.startswith('stages.') and key.split('.')[1] not in stages)
