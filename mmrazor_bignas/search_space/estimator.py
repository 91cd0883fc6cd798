"""NetSpec -> FLOPs and params, exact, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mmrazor_bignas.search_space.net_spec import ConvSpec, NetSpec
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
    """

    flops: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.params + other.params)


def estimate(net: NetSpec, num_classes: int) -> Cost:
    """The cost of a network with a linear classifier of ``num_classes`` outputs."""
    return convs_cost(net.convs()) + classifier_cost(net.out_channels, num_classes)


def convs_cost(convs: Iterable[tuple[ConvSpec, int, bool]]) -> Cost:
    """The cost of convolutions, each with its output side length and whether batch normalisation follows."""
    flops = params = 0
    for conv, side, has_bn in convs:
        out, in_per_group, kernel, _ = conv.weight_shape
        weights = out * in_per_group * kernel * kernel
        flops += weights * side * side
        params += weights + out * (conv.bias + 2 * has_bn)
    return Cost(flops, params)


def classifier_cost(in_features: int, num_classes: int) -> Cost:
    """The cost of a linear layer with bias."""
    return Cost(in_features * num_classes, (in_features + 1) * num_classes)


def extreme_subnets(space: SearchSpace, cost: Callable[[SubnetSpec], float]) -> tuple[SubnetSpec, SubnetSpec]:
    """The cheapest and the dearest subnet of a space, exactly.

    Every gene but width makes a subnet dearer as it grows. A wider stage may be cheaper, where it saves a shortcut
    convolution; since a layer's cost depends on its own two widths alone, the best chain of widths up to a stage is,
    for each width of that stage, found from the best chains up to the stage before (dynamic programming).

    Args:
        space: The search space.
        cost: FLOPs or params of a subnet, as :func:`estimate` gives them.
    """
    widths = [gene.choices for gene in space.genes if gene.row == 'width']
    found = []
    for base, pick in ((space.smallest, min), (space.largest, max)):

        def with_widths(head: tuple[int, ...], base: SubnetSpec = base) -> SubnetSpec:
            return replace(base, width=head + base.width[len(head) :])

        chains: list[tuple[int, ...]] = [()]
        for choices in widths:
            chains = [pick([(*c, width) for c in chains], key=lambda c: cost(with_widths(c))) for width in choices]
        found.append(pick(map(with_widths, chains), key=cost))
    return found[0], found[1]
