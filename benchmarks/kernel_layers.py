"""Layers that stand for the ImageNet space, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrazor_bignas.kernels import slice_param
from mmrazor_bignas.search_space import ConvSpec, NetSpec, SearchSpace, envelope, resolve

FAMILIES = ('depthwise', 'norm', 'gate', 'pointwise', 'add')
EPS = 1e-5


@dataclass(frozen=True)
class Layer:
    """A layer of a subnet and how many images it gets.

    Attributes:
        family: Of :data:`FAMILIES`.
        form: What kernels are compiled for.
        sizes: Channels in and out (the gate's: squeezed), side of the input.
        batch: Images.
        parts: Of 'add': shapes of parameters and of their parts.
    """

    family: str
    form: tuple
    sizes: tuple[int, int, int]
    batch: int = 64
    parts: tuple = ()

    def __str__(self) -> str:
        inside, outside, side = self.sizes
        if self.family == 'add':
            return f'{len(self.parts)} parts, {inside / 1e6:.1f} M numbers'
        here = f'{self.batch} x {inside} x {side}^2'
        if self.family == 'depthwise':
            return f'{here}, {self.form[0]} x {self.form[0]} / {self.form[1]}'
        if self.family == 'norm':
            return here + ', swish' * self.form[0] + ', added' * self.form[1]
        return f'{here} -> {outside}'


def layers_of(spec: NetSpec) -> Iterator[Layer]:
    """All layers of a subnet that are kernels, but those of the classifier."""
    side = spec.stem.out_side(spec.resolution)
    yield Layer('norm', (True, False), (spec.stem.out_channels, 0, side))
    for block in (block for stage in spec.stages for block in stage):
        for conv, out_side, normalised in block.convs(side):
            if conv.depthwise:
                yield Layer('depthwise', (conv.kernel_size, conv.stride), (conv.in_channels, 0, side))
            elif conv.bias and conv.in_channels > conv.out_channels:
                yield Layer('gate', (), (conv.in_channels, conv.out_channels, block.out_side(side)))
            elif not conv.bias:
                yield Layer('pointwise', (), (conv.in_channels, conv.out_channels, out_side))
            if normalised:
                last = conv is block.project
                yield Layer('norm', (not last, last), (conv.out_channels, 0, out_side))
        side = block.out_side(side)
    yield Layer('pointwise', (), (spec.head_expand.in_channels, spec.head_expand.out_channels, side))
    yield Layer('norm', (True, False), (spec.head_expand.out_channels, 0, side))


def addition(whole: NetSpec, spec: NetSpec) -> Layer:
    """All gradients of a subnet, which are added to parts of the supernet's."""

    def convs(net: NetSpec, like: NetSpec) -> Iterator[tuple[ConvSpec | None, bool]]:
        for stage, theirs in zip(net.stages, like.stages, strict=True):
            for block, _ in zip(stage, theirs, strict=False):
                yield from ((conv, True) for conv in (block.expand, block.depthwise, block.project))
                yield from ((conv, False) for conv in (*(block.se or (None, None)), block.shortcut))

    parts = []
    for (large, normalised), (conv, _) in zip(convs(whole, spec), convs(spec, spec), strict=True):
        if conv:
            parts.append((large.weight_shape, conv.weight_shape))
            parts += [((large.out_channels,), (conv.out_channels,))] * (2 * normalised + conv.bias)
    numbers = sum(torch.Size(part).numel() for _, part in parts)
    return Layer('add', (), (numbers, 0, 0), 1, tuple(parts))


def spread(items: Sequence, count: int) -> list:
    """As many of them, from the first to the last; a single one is in the middle."""
    if count >= len(items):
        return list(items)
    if count == 1:
        return [items[len(items) // 2]]
    return [items[i * (len(items) - 1) // (count - 1)] for i in range(count)]


def chosen_layers(space: SearchSpace, tiny: bool) -> list[Layer]:
    """About 40 layers for the whole space, by family."""
    whole, found = envelope(space), []
    subnets = ((space.smallest, 2), (space.largest, 3), (space.sample(Random(0)), 1))
    for subnet, count in subnets[: 2 if tiny else 3]:
        spec = resolve(space, subnet)
        for group in by_form(layers_of(spec)):
            found += spread(group, 1 if tiny else count)
            if not tiny and subnet == space.largest:
                found += [replace(layer, batch=256) for layer in spread(group, 1)]
        if subnet != space.largest:
            found.append(addition(whole, spec))
    if tiny:
        found = [replace(min(group, key=lambda one: one.sizes[2]), batch=2) for group in by_form(found)]
    return sorted(dict.fromkeys(found), key=lambda layer: (FAMILIES.index(layer.family), layer.form))


def by_form(layers: Iterable[Layer]) -> list[list[Layer]]:
    groups: dict[tuple, list[Layer]] = {}
    for layer in layers:
        groups.setdefault((layer.family, layer.form), []).append(layer)
    return list(groups.values())


def tensors_of(layer: Layer, device: str, dtype: torch.dtype) -> SimpleNamespace:
    """Random inputs of a layer's forward and backward pass, as in a training under autocast."""

    def features(channels: int, side: int) -> Tensor:
        x = torch.randn((layer.batch, side, side, channels), device=device, dtype=dtype)
        return x.permute(0, 3, 1, 2)

    def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    inside, outside, side = layer.sizes
    if layer.family == 'depthwise':
        size, stride = layer.form
        shapes = {'grad': features(inside, -(-side // stride)), 'weight': numbers(inside, 1, size, size)}
        return SimpleNamespace(x=features(inside, side), stride=stride, **shapes)
    if layer.family == 'norm':
        act, adds = layer.form
        t = SimpleNamespace(x=features(inside, side), grad=features(inside, side), act=act, eps=EPS)
        t.added = features(inside, side) if adds else None
        t.weight, t.bias, t.mean, t.var = numbers(inside), numbers(inside), numbers(inside), numbers(inside) ** 2 + 0.5
        return t
    if layer.family == 'gate':
        t = SimpleNamespace(x=features(inside, side), grad=features(inside, side))
        t.reduce, t.expand = numbers(outside, inside, 1, 1), numbers(inside, outside, 1, 1)
        t.reduce_bias, t.expand_bias = numbers(outside), numbers(inside)
        t.mean, t.squeezed = numbers(layer.batch, inside), numbers(layer.batch, outside).relu()
        t.gate = F.hardsigmoid(3 * numbers(layer.batch, inside))
        return t
    if layer.family == 'pointwise':
        scale = inside**-0.5
        t = SimpleNamespace(x=features(inside, side), grad=features(outside, side))
        t.weight = numbers(outside, inside, 1, 1, dtype=dtype) * scale
        return t
    wholes = [numbers(*whole) for whole, _ in layer.parts]
    parts = tuple(slice_param(whole, part) for whole, (_, part) in zip(wholes, layer.parts, strict=True))
    # Gradients of what autocast casts have its format: of dense convolutions.
    formats = [dtype if len(part) == 4 and part[1] > 1 else torch.float32 for _, part in layer.parts]
    addends = tuple(numbers(*part, dtype=one) for (_, part), one in zip(layer.parts, formats, strict=True))
    return SimpleNamespace(parts=parts, addends=addends)


def changed(t: SimpleNamespace, change: Callable[[str, Tensor], Tensor]) -> SimpleNamespace:
    """The same inputs with every tensor changed."""
    found = {}
    for name, value in vars(t).items():
        if isinstance(value, tuple):
            value = tuple(change(name, one) for one in value)
        found[name] = change(name, value) if isinstance(value, Tensor) else value
    return SimpleNamespace(**found)
