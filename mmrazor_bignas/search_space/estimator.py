"""NetSpec -> FLOPs and params, exact, without a model."""

from __future__ import annotations

from dataclasses import dataclass

from mmrazor_bignas.search_space.net_spec import NetSpec

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


def estimate(net: NetSpec, num_classes: int) -> Cost:
    """The cost of a network with a linear classifier of ``num_classes`` outputs."""
    flops = net.out_channels * num_classes
    params = (net.out_channels + 1) * num_classes
    for conv, side, has_bn in net.convs():
        out, in_per_group, kernel, _ = conv.weight_shape
        weights = out * in_per_group * kernel * kernel
        flops += weights * side * side
        params += weights + out * (conv.bias + 2 * has_bn)
    return Cost(flops, params)
