"""One layer of a network by itself, to be measured."""

from __future__ import annotations

from torch import Tensor, nn

from mmrazor_bignas.models.attentive_mobilenet_v3 import STATIC_BN_MOMENTUM
from mmrazor_bignas.models.blocks import ConvBnAct, MBConv, pooled_features
from mmrazor_bignas.models.dynamic_layers import DynamicConv2d, DynamicLinear
from mmrazor_bignas.search_space import BlockSpec, HeadSpec, Layer


class SingleLayer(nn.Module):
    """A stem, block or head as a static network runs it, with new weights.

    Args:
        layer: Which.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.spec = spec = layer.spec
        if isinstance(spec, HeadSpec):
            self.expand, self.mix = ConvBnAct(spec.expand, STATIC_BN_MOMENTUM), DynamicConv2d(spec.mix)
            self.fc = DynamicLinear(spec.mix.out_channels, spec.num_classes)
        elif isinstance(spec, BlockSpec):
            self.block = MBConv(spec, STATIC_BN_MOMENTUM)
        else:
            self.stem = ConvBnAct(spec, STATIC_BN_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, side, side) -> the layer's output; a head's are logits."""
        spec = self.spec
        if isinstance(spec, HeadSpec):
            return self.fc(pooled_features(x, self.expand, spec.expand, self.mix, spec.mix))
        return self.block(x, spec, drop=False) if isinstance(spec, BlockSpec) else self.stem(x, spec)
