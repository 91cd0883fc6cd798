"""Layers: the parts of a network that cost something by themselves, and the genes that each of them depends on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from mmrazor_bignas.search_space.net_spec import (
    BlockSpec,
    ConvSpec,
    NetSpec,
    head_convs,
    stage_blocks,
    stem_conv,
)
from mmrazor_bignas.search_space.space import Gene, SearchSpace, Stage


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


# Genes, and the layers for every choice of them.
Part = tuple[list[Gene], list[tuple[Layer, ...]]]


def network_layers(net: NetSpec, num_classes: int | None) -> Iterator[Layer]:
    """The layers of a network with its classifier, from input to output; up to the last block for None classes."""
    yield Layer(net.stem, net.resolution)
    side = net.stem.out_side(net.resolution)
    for block in (block for stage in net.stages for block in stage):
        yield Layer(block, side)
        side = block.out_side(side)
    if num_classes is not None:
        yield Layer(HeadSpec(net.head_expand, net.head_mix, num_classes), side)


def parts(space: SearchSpace, num_classes: int) -> Iterator[Part]:
    """Stem, stages and head: the genes that each depends on, and its layers for every choice of these genes.

    Choices are in the order of the product of the genes' choices. Where the blocks of a stage choose by themselves,
    each is a part of its own, since the choices of all of them are too many; it has no layers where it does not run.
    """
    genes: dict[tuple[str, int], list[Gene]] = defaultdict(list)
    for gene in space.genes:
        genes[gene.row, gene.index].append(gene)
    (resolution,) = genes['resolution', 0]
    widths = [gene for gene in space.genes if gene.row == 'width']
    yield _part([resolution, widths[0]], lambda side, width: [Layer(stem_conv(width, space.in_channels), side)])
    stem = stem_conv(space.stem[0], space.in_channels)
    sides = {side: stem.out_side(side) for side in space.resolution}
    for i, stage in enumerate(space.stages):
        of_stage = [resolution, *widths[i : i + 2], *genes['depth', i]]
        yield from _stage_parts(stage, sides, of_stage, genes['kernel_size', i], genes['expand_ratio', i])
        choice = (widths[i].choices[0], stage.width[0], 1, stage.kernel_size[0], stage.expand_ratio[0])
        (block,) = stage_blocks(stage, *choice)
        sides = {side: block.out_side(before) for side, before in sides.items()}  # the same for every block of a stage
    yield _part(
        [resolution, *widths[-2:]],
        lambda side, in_width, width: [Layer(HeadSpec(*head_convs(in_width, width), num_classes), sides[side])],
    )


def _stage_parts(
    stage: Stage, sides: Mapping[int, int], genes: Sequence[Gene], kernel_sizes: Sequence[Gene], ratios: Sequence[Gene]
) -> Iterator[Part]:
    """The stage as a whole, or block by block.

    Args:
        stage: The row of the search space.
        sides: From resolution to the side length of the stage's input.
        genes: Resolution, input width, width and depth.
        kernel_sizes: One, or one for every block.
        ratios: As many.
    """

    def layers(side: int, *choice: int) -> list[Layer]:
        found, side = [], sides[side]
        for block in stage_blocks(stage, *choice):
            found.append(Layer(block, side))
            side = block.out_side(side)
        return found

    def first(side: int, in_width: int, width: int, *choice: int) -> list[Layer]:
        return layers(side, in_width, width, 1, *choice)

    def later(block: int, side: int, width: int, depth: int, *choice: int) -> list[Layer]:
        return layers(side, width, width, 2, *choice)[1:] if block < depth else []

    if not stage.per_block:
        yield _part([*genes, *kernel_sizes, *ratios], layers)
        return
    resolution, in_width, width, depth = genes
    for block, of_block in enumerate(zip(kernel_sizes, ratios, strict=True)):
        if block == 0:
            yield _part([resolution, in_width, width, *of_block], first)
        else:
            yield _part([resolution, width, depth, *of_block], partial(later, block))


def _part(genes: list[Gene], layers: Callable[..., list[Layer]]) -> Part:
    """A part, from what its layers are for one choice of its genes."""
    return genes, [tuple(layers(*choice)) for choice in product(*(gene.choices for gene in genes))]


def distinct_layers(space: SearchSpace, num_classes: int) -> list[Layer]:
    """Every layer that some subnet of the space has, once."""
    return list(
        dict.fromkeys(layer for _, choices in parts(space, num_classes) for layers in choices for layer in layers)
    )
