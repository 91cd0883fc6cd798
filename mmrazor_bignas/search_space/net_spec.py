"""What a choice means: every layer's integers.

:func:`resolve` is the only code that turns a choice into a channel count, :func:`envelope` the only code that says how
large the supernet's tensors are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from mmrazor_bignas.search_space.space import SearchSpace, Stage
from mmrazor_bignas.search_space.subnet import SubnetSpec

CHANNEL_DIVISOR = 8
SE_REDUCTION = 4
HEAD_EXPANSION = 6


@dataclass(frozen=True)
class ConvSpec:
    """A convolution: input and output channels, kernel side, stride; its padding keeps the side at stride 1."""

    in_channels: int
    out_channels: int
    kernel_size: int = 1
    stride: int = 1
    depthwise: bool = False
    bias: bool = False

    @property
    def groups(self) -> int:
        return self.in_channels if self.depthwise else 1

    @property
    def padding(self) -> int:
        return self.kernel_size // 2

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(out, in / groups, k, k), as torch stores it."""
        return (self.out_channels, self.in_channels // self.groups, self.kernel_size, self.kernel_size)

    def out_side(self, side: int) -> int:
        """Side length of the output for an input of the given side length."""
        return (side + 2 * self.padding - self.kernel_size) // self.stride + 1


@dataclass(frozen=True)
class BlockSpec:
    """An inverted residual block (MobileNetV3, arXiv:1905.02244, figure 4) with a shortcut around it.

    Attributes:
        expand: 1x1 to the middle width; None where the stage has no expansion.
        depthwise: k x k at the middle width, the block's stride.
        se: The two 1x1 of squeeze-and-excite, or None.
        project: 1x1 to the output width.
        shortcut: 1x1 on the shortcut, where the width changes; else None.
    """

    expand: ConvSpec | None
    depthwise: ConvSpec
    se: tuple[ConvSpec, ConvSpec] | None
    project: ConvSpec
    shortcut: ConvSpec | None

    @property
    def keeps_shape(self) -> bool:
        """Whether the shortcut is the identity."""
        return self.depthwise.stride == 1 and self.shortcut is None

    def out_side(self, side: int) -> int:
        """Side length of the output for an input of the given side length."""
        return self.depthwise.out_side(side)

    def convs(self, side: int) -> Iterator[tuple[ConvSpec, int, bool]]:
        """Every convolution with its output side length in pixels and whether batch normalisation follows.

        Args:
            side: Side length of the input.
        """
        if self.expand:
            yield self.expand, side, True
        side = self.out_side(side)
        yield self.depthwise, side, True
        for conv in self.se or ():
            yield conv, 1, False
        yield self.project, side, True
        if self.shortcut:
            yield self.shortcut, side, False


@dataclass(frozen=True)
class NetSpec:
    """A whole network but its classifier: resolution in pixels, then layers from input to output."""

    resolution: int
    stem: ConvSpec
    stages: tuple[tuple[BlockSpec, ...], ...]
    head_expand: ConvSpec
    head_mix: ConvSpec

    @property
    def out_channels(self) -> int:
        """Length of the feature vector that the classifier gets."""
        return self.head_mix.out_channels


def make_divisible(value: float, divisor: int = CHANNEL_DIVISOR) -> int:
    """The nearest multiple of ``divisor``, one step more if that is below 0.9 of the value (MobileNetV2's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def resolve(space: SearchSpace, subnet: SubnetSpec) -> NetSpec:
    """Every layer's integers of a subnet.

    The subnet is taken to be of the space: validate what comes from outside with :meth:`SearchSpace.validate`.
    """
    stem_width, *stage_widths, head_width = subnet.width
    stages, in_width = [], stem_width
    for i, (stage, width) in enumerate(zip(space.stages, stage_widths, strict=True)):
        rows = (subnet.depth[i], subnet.kernel_size[i], subnet.expand_ratio[i])
        stages.append(stage_blocks(stage, in_width, width, *rows))
        in_width = width
    return NetSpec(
        subnet.resolution,
        stem_conv(stem_width, space.in_channels),
        tuple(stages),
        *head_convs(in_width, head_width),
    )


def stem_conv(width: int, in_channels: int) -> ConvSpec:
    """The first convolution, over images of so many channels."""
    return ConvSpec(in_channels, width, kernel_size=3, stride=2)


def head_convs(in_width: int, width: int) -> tuple[ConvSpec, ConvSpec]:
    """The convolutions around the global pooling: to more channels, then to the classifier's features."""
    return ConvSpec(in_width, HEAD_EXPANSION * in_width), ConvSpec(HEAD_EXPANSION * in_width, width)


def stage_blocks(
    stage: Stage,
    in_width: int,
    width: int,
    depth: int,
    kernel_size: int | tuple[int, ...],
    expand_ratio: int | tuple[int, ...],
) -> tuple[BlockSpec, ...]:
    """The blocks of a stage, from input to output; the first one may stride and change the width.

    Args:
        stage: The row of the search space.
        in_width: Channels of the input.
        width: Channels of every block's output.
        depth: How many blocks.
        kernel_size: Of all blocks, or one for each.
        expand_ratio: Of all blocks, or one for each.
    """
    kernel_sizes, ratios = (
        choice if isinstance(choice, tuple) else (choice,) * depth for choice in (kernel_size, expand_ratio)
    )
    first, *others = zip(kernel_sizes, ratios, strict=True)
    later = {choice: _block(stage, width, width, *choice, 1) for choice in set(others)}
    return (_block(stage, in_width, width, *first, stage.stride), *(later[choice] for choice in others))


def envelope(space: SearchSpace) -> NetSpec:
    """The smallest network in which every subnet of the space fits: the supernet.

    It is not ``resolve(space, space.largest)``: a subnet whose width changes where the largest's does not needs a
    shortcut convolution that the largest has not.
    """
    largest = resolve(space, space.largest)
    in_widths = space.stem
    stages = []
    for stage in space.stages:
        first = _union(_blocks_of(stage, in_widths, stage.stride))
        rest = _union(_block(stage, w, w, max(stage.kernel_size), max(stage.expand_ratio), 1) for w in stage.width)
        stages.append((first, *[rest] * (max(stage.depth) - 1)))
        in_widths = stage.width
    return replace(largest, stages=tuple(stages))


def _blocks_of(stage: Stage, in_widths: Iterable[int], stride: int) -> Iterator[BlockSpec]:
    for in_width, width, ratio in product(in_widths, stage.width, stage.expand_ratio):
        yield _block(stage, in_width, width, max(stage.kernel_size), ratio, stride)


def _block(stage: Stage, in_width: int, width: int, kernel_size: int, expand_ratio: int, stride: int) -> BlockSpec:
    middle = make_divisible(round(in_width * expand_ratio)) if stage.has_expansion else in_width
    squeezed = make_divisible(middle // SE_REDUCTION)
    return BlockSpec(
        expand=ConvSpec(in_width, middle) if stage.has_expansion else None,
        depthwise=ConvSpec(middle, middle, kernel_size, stride, depthwise=True),
        se=(ConvSpec(middle, squeezed, bias=True), ConvSpec(squeezed, middle, bias=True)) if stage.se else None,
        project=ConvSpec(middle, width),
        shortcut=ConvSpec(in_width, width) if in_width != width else None,
    )


def _union(blocks: Iterable[BlockSpec]) -> BlockSpec:
    """The smallest block in which all of them fit."""
    blocks = list(blocks)

    def conv(specs: list[ConvSpec | None]) -> ConvSpec | None:
        specs = [spec for spec in specs if spec]
        if not specs:
            return None
        return replace(
            specs[0],
            in_channels=max(spec.in_channels for spec in specs),
            out_channels=max(spec.out_channels for spec in specs),
            kernel_size=max(spec.kernel_size for spec in specs),
        )

    pairs = [block.se for block in blocks if block.se]
    return BlockSpec(
        expand=conv([block.expand for block in blocks]),
        depthwise=conv([block.depthwise for block in blocks]),
        se=tuple(conv(list(specs)) for specs in zip(*pairs, strict=True)) or None,
        project=conv([block.project for block in blocks]),
        shortcut=conv([block.shortcut for block in blocks]),
    )
