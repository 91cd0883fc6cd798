"""ConvBnAct, SqueezeExcite, MBConv: written once, for every size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_bignas.kernels import squeeze_excite
from mmrazor_bignas.models.dynamic_layers import DynamicBatchNorm2d, DynamicConv2d, drop_path
from mmrazor_bignas.search_space import BlockSpec, ConvSpec

BN_EPS = 1e-5


class ConvBnAct(nn.Module):
    """Convolution, batch normalisation and, unless ``act`` is False, swish."""

    def __init__(self, spec: ConvSpec, bn_momentum: float, act: bool = True) -> None:
        super().__init__()
        self.conv = DynamicConv2d(spec)
        self.bn = DynamicBatchNorm2d(spec.out_channels, eps=BN_EPS, momentum=bn_momentum)
        self.act = act

    def forward(self, x: Tensor, spec: ConvSpec, added: Tensor | None = None) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride), plus ``added`` of that shape."""
        x, moments = self.conv.with_moments(x, spec)
        return self.bn(x, self.act, added, moments)


class SqueezeExcite(nn.Module):
    """Channel gate (arXiv:1709.01507) with ReLU inside and a hard sigmoid, relu6(x + 3) / 6, outside."""

    def __init__(self, specs: tuple[ConvSpec, ConvSpec]) -> None:
        super().__init__()
        self.reduce, self.expand = map(DynamicConv2d, specs)

    def forward(self, x: Tensor, specs: tuple[ConvSpec, ConvSpec]) -> Tensor:
        reduce, expand = specs
        return squeeze_excite(x, *self.reduce.slices(reduce), *self.expand.slices(expand))


class MBConv(nn.Module):
    """Inverted residual block with a shortcut in every block, also where width or side changes.

    Args:
        spec: Sizes of the parameters.
        bn_momentum: Momentum of every batch normalisation.
        drop_path_rate: Share of samples whose residual branch is dropped where :meth:`forward` is told to.
    """

    def __init__(self, spec: BlockSpec, bn_momentum: float, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.drop_path_rate = drop_path_rate
        self.expand = ConvBnAct(spec.expand, bn_momentum) if spec.expand else None
        self.depthwise = ConvBnAct(spec.depthwise, bn_momentum)
        self.se = SqueezeExcite(spec.se) if spec.se else None
        self.project = ConvBnAct(spec.project, bn_momentum, act=False)
        self.shortcut = DynamicConv2d(spec.shortcut) if spec.shortcut else None
        # The block starts as its shortcut (arXiv:2003.11142, section 3.2).
        nn.init.zeros_(self.project.bn.weight)

    def forward(self, x: Tensor, spec: BlockSpec, drop: bool) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride), sides rounded up.

        Args:
            x: Features.
            spec: The sizes to run.
            drop: Whether drop path acts (in training mode, on blocks that keep their shape).
        """
        residual = self.expand(x, spec.expand) if spec.expand else x
        residual = self.depthwise(residual, spec.depthwise)
        if spec.se:
            residual = self.se(residual, spec.se)
        if spec.depthwise.stride == 2:
            x = F.avg_pool2d(x, 2, 2, padding=(x.shape[-2] % 2, x.shape[-1] % 2))
        if spec.shortcut:
            x = self.shortcut(x, spec.shortcut)
        if drop and self.training and spec.keeps_shape and self.drop_path_rate:
            return drop_path(self.project(residual, spec.project), self.drop_path_rate) + x
        return self.project(residual, spec.project, added=x)


def pooled_features(
    x: Tensor, expand: ConvBnAct, expand_spec: ConvSpec, mix: DynamicConv2d, mix_spec: ConvSpec
) -> Tensor:
    """The end of the network: (N, in, H, W) -> expanded, averaged over pixels and mixed, (N, head width)."""
    x = F.adaptive_avg_pool2d(expand(x, expand_spec), 1)
    return F.silu(mix(x, mix_spec)).flatten(1)
