"""Layers: the parts of a network that cost something by themselves, and the genes that each of them depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from mmrazor_bignas.search_space.net_spec import (
    BlockSpec,
    ConvSpec,
    NetSpec,
    head_convs,
    stage_blocks,
    stem_conv,
)
from mmrazor_bignas.search_space.space import Gene, SearchSpace


@dataclass(frozen=True)
class HeadSpec:
    """The convolutions around the global pooling and the classifier."""

    expand: ConvSpec
    mix: ConvSpec
    num_classes: int


@dataclass(frozen=True)
class Layer:
    """Stem, block or head, and the side length of its input in pixels.

    As a string it is one line, different for different layers: the key of a latency table.
    """

    spec: ConvSpec | BlockSpec | HeadSpec
    side: int

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        if isinstance(self.spec, BlockSpec):
            return (self.spec.expand or self.spec.depthwise).in_channels
        return (self.spec.expand if isinstance(self.spec, HeadSpec) else self.spec).in_channels

    def convs(self) -> Iterator[tuple[ConvSpec, int, bool]]:
        """Every convolution with its output side length in pixels and whether batch normalisation follows."""
        if isinstance(self.spec, BlockSpec):
            yield from self.spec.convs(self.side)
        elif isinstance(self.spec, HeadSpec):
            yield self.spec.expand, self.side, True
            yield self.spec.mix, 1, False
        else:
            yield self.spec, self.spec.out_side(self.side), True

    def __str__(self) -> str:
        spec = self.spec
        if isinstance(spec, HeadSpec):
            widths, more = (spec.expand.in_channels, spec.expand.out_channels, spec.mix.out_channels), ['head']
            widths += (spec.num_classes,)
        elif isinstance(spec, BlockSpec):
            widths, more = (spec.depthwise.in_channels, spec.project.out_channels), ['block']
            if spec.expand:
                widths = (spec.expand.in_channels, *widths)
            more += [f'kernel {spec.depthwise.kernel_size}', f'stride {spec.depthwise.stride}']
            more += [f'se {spec.se[0].out_channels}'] if spec.se else []
            more += ['shortcut'] if spec.shortcut else []
        else:
            widths = (spec.in_channels, spec.out_channels)
            more = ['stem', f'kernel {spec.kernel_size}', f'stride {spec.stride}']
        return f'{more[0]} {"-".join(map(str, widths))} {", ".join([*more[1:], f"side {self.side}"])}'


def network_layers(net: NetSpec, num_classes: int) -> Iterator[Layer]:
    """The layers of a network with its classifier, from input to output."""
    yield Layer(net.stem, net.resolution)
    side = net.stem.out_side(net.resolution)
    for block in (block for stage in net.stages for block in stage):
        yield Layer(block, side)
        side = block.out_side(side)
    yield Layer(HeadSpec(net.head_expand, net.head_mix, num_classes), side)


def parts(space: SearchSpace, num_classes: int) -> Iterator[tuple[list[Gene], list[tuple[Layer, ...]]]]:
    """Stem, stages and head: the genes that each depends on, and its layers for every choice of these genes.

    Choices are in the order of the product of the genes' choices.
    """
    gene = {(gene.row, gene.index): gene for gene in space.genes}
    yield (
        [gene['resolution', 0], gene['width', 0]],
        [(Layer(stem_conv(width), side),) for side, width in product(space.resolution, space.stem)],
    )
    sides = {side: stem_conv(space.stem[0]).out_side(side) for side in space.resolution}
    in_widths = space.stem
    for i, stage in enumerate(space.stages):
        genes = [gene['resolution', 0], gene['width', i], gene['width', i + 1]]
        genes += [gene[row, i] for row in ('depth', 'kernel_size', 'expand_ratio')]
        choices = []
        for resolution, *choice in product(*(gene.choices for gene in genes)):
            side, layers = sides[resolution], []
            for block in stage_blocks(stage, *choice):
                layers.append(Layer(block, side))
                side = block.out_side(side)
            choices.append(tuple(layers))
        yield genes, choices
        block = stage_blocks(stage, in_widths[0], stage.width[0], 1, stage.kernel_size[0], stage.expand_ratio[0])[0]
        sides = {side: block.out_side(out) for side, out in sides.items()}  # the same for every block of a stage
        in_widths = stage.width
    n = len(space.stages)
    yield (
        [gene['resolution', 0], gene['width', n], gene['width', n + 1]],
        [
            (Layer(HeadSpec(*head_convs(in_width, width), num_classes), sides[side]),)
            for side, in_width, width in product(space.resolution, in_widths, space.head)
        ],
    )


def distinct_layers(space: SearchSpace, num_classes: int) -> list[Layer]:
    """Every layer that some subnet of the space has, once."""
    return list(
        dict.fromkeys(layer for _, choices in parts(space, num_classes) for layers in choices for layer in layers)
    )
