"""NetSpec -> FLOPs and params, exact, without a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from mmrazor_bignas.search_space.layers import HeadSpec, Layer, network_layers
from mmrazor_bignas.search_space.net_spec import NetSpec
from mmrazor_bignas.search_space.space import SearchSpace
from mmrazor_bignas.search_space.subnet import SubnetSpec

CONVENTION = (
    "FLOPs are multiply-adds of convolutions (squeeze-and-excite's included) and the linear layer at the subnet's own "
    'resolution; biases, batch normalisation, activations, pooling, additions and resizing are not counted. '
    'Params are the numbers of the static network: weights, biases, and scale and shift of batch normalisation.'
)


@dataclass(frozen=True)
class Cost:
    """What a subnet costs.

    Attributes:
        flops: Multiply-adds for one image (see :data:`CONVENTION`).
        params: Learnable numbers.
        latency: Milliseconds for one batch, as a latency table says; None without one.
    """

    flops: int
    params: int
    latency: float | None = None

    def __add__(self, other: Cost) -> Cost:
        latency = None if self.latency is None or other.latency is None else self.latency + other.latency
        return Cost(self.flops + other.flops, self.params + other.params, latency)


def estimate(net: NetSpec, num_classes: int | None, size: tuple[int, int] | None = None) -> Cost:
    """FLOPs and params of a network.

    Args:
        net: The network.
        num_classes: Outputs of its linear classifier. None counts the stem and the stages alone, as they run under a
            detector.
        size: Height and width in pixels of images that are not resized; None is a square of the network's resolution.
    """
    sides = size or (net.resolution, net.resolution)
    layers = (network_layers(replace(net, resolution=side), num_classes) for side in sides)
    return sum(map(layer_cost, *layers), Cost(0, 0))


def layer_cost(layer: Layer, across: Layer | None = None) -> Cost:
    """FLOPs and params of a layer.

    Args:
        layer: The layer.
        across: The same with the width of its input for a side, where that is not square.
    """
    flops = params = 0
    for (conv, side, has_bn), (_, width, _) in zip(layer.convs(), (across or layer).convs(), strict=True):
        out, in_per_group, kernel, _ = conv.weight_shape
        weights = out * in_per_group * kernel * kernel
        flops += weights * side * width
        params += weights + out * (conv.bias + 2 * has_bn)
    if isinstance(layer.spec, HeadSpec):  # and the linear layer, with bias
        features, classes = layer.spec.mix.out_channels, layer.spec.num_classes
        flops += features * classes
        params += (features + 1) * classes
    return Cost(flops, params)


def extreme_subnets(space: SearchSpace, cost: Callable[[SubnetSpec], float]) -> tuple[SubnetSpec, SubnetSpec]:
    """The cheapest and the dearest subnet of a space, exactly.

    They need not be the smallest and the largest: a wider stage may save a shortcut convolution, and what was measured
    follows no rule. Since a stage's cost depends on the resolution, its own genes and the width before it alone, the
    best chain of stages up to one is, for each width of it, found from the best chains up to the stage before (dynamic
    programming). Where its blocks choose by themselves, the best choice of a block depends neither on the other blocks
    nor on how many there are: it is found with all of them there.

    Args:
        space: The search space.
        cost: What is summed up over layers: FLOPs, params or latency of a subnet.
    """
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, gene in enumerate(space.genes):
        places[gene.row, gene.index].append(i)
    # For every width, its stage's groups of genes whose best choices are found together, one group after the other.
    steps: list[list[Sequence[int]]] = [[]]
    for i, stage in enumerate(space.stages):
        depth, of_blocks = places['depth', i], zip(places['kernel_size', i], places['expand_ratio', i], strict=True)
        steps.append([*of_blocks, depth] if stage.per_block else [[*depth, *next(of_blocks)]])
    steps.append([])

    def cost_of(values: list[int]) -> float:
        return cost(space.subnet(values))

    def changed(values: list[int], places: Sequence[int], choice: Sequence[int]) -> list[int]:
        new = dict(zip(places, choice, strict=True))
        return [new.get(i, value) for i, value in enumerate(values)]

    def best(pick: Callable, values: list[int], groups: list[Sequence[int]]) -> list[int]:
        for group in groups:
            choices = product(*(space.genes[i].choices for i in group))
            values = pick((changed(values, group, choice) for choice in choices), key=cost_of)
        return values

    found = []
    for pick in (min, max):
        ends = []
        for side in space.resolution:
            chains = [[side, *space.values(space.largest)[1:]]]
            for i, groups in enumerate(steps):
                width = places['width', i]
                chains = [
                    pick((best(pick, changed(c, width, [w]), groups) for c in chains), key=cost_of)
                    for w in space.genes[width[0]].choices
                ]
            ends += chains
        found.append(space.subnet(pick(ends, key=cost_of)))
    return found[0], found[1]
