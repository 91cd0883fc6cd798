"""A subnet as plain torch layers: what every framework has at least, and nothing of this package runs in it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmrazor_bignas.models import SearchableImageClassifier
from mmrazor_bignas.search_space import BlockSpec, ConvSpec


def conv(spec: ConvSpec) -> nn.Conv2d:
    sizes = (spec.in_channels, spec.out_channels, spec.kernel_size, spec.stride, spec.padding)
    return nn.Conv2d(*sizes, groups=spec.groups, bias=spec.bias)


class ConvBnAct(nn.Module):
    def __init__(self, spec: ConvSpec, act: bool = True) -> None:
        super().__init__()
        self.conv, self.bn = conv(spec), nn.BatchNorm2d(spec.out_channels)
        self.act = nn.SiLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class SqueezeExcite(nn.Module):
    def __init__(self, reduce: ConvSpec, expand: ConvSpec) -> None:
        super().__init__()
        self.reduce, self.expand = conv(reduce), conv(expand)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class MBConv(nn.Module):
    def __init__(self, spec: BlockSpec, drop_path_rate: float) -> None:
        super().__init__()
        self.expand = ConvBnAct(spec.expand) if spec.expand else nn.Identity()
        self.depthwise = ConvBnAct(spec.depthwise)
        self.se = SqueezeExcite(*spec.se) if spec.se else nn.Identity()
        self.project = ConvBnAct(spec.project, act=False)
        self.shortcut = conv(spec.shortcut) if spec.shortcut else nn.Identity()
        self.stride, self.drop_path_rate = spec.depthwise.stride, drop_path_rate if spec.keeps_shape else 0.0

    def forward(self, x: Tensor) -> Tensor:
        residual = self.project(self.se(self.depthwise(self.expand(x))))
        if self.drop_path_rate:
            kept = x.new_empty((len(x), 1, 1, 1)).bernoulli_(1 - self.drop_path_rate)
            residual = residual * (kept / (1 - self.drop_path_rate))
        if self.stride == 2:
            x = F.avg_pool2d(x, 2, 2, padding=x.shape[-1] % 2)
        return residual + self.shortcut(x)


class PlainTwin(nn.Module):
    """A static network with the same parameters under the same names.

    Args:
        static: The network to repeat.
        drop: Whether it has the dropout and drop path of the largest subnet of a training step.
    """

    def __init__(self, static: SearchableImageClassifier, drop: bool) -> None:
        super().__init__()
        spec = static.backbone.spec
        rates = [block.drop_path_rate for stage in static.backbone.stages for block in stage]
        self.backbone, self.resolution = nn.Module(), spec.resolution
        self.backbone.stem = ConvBnAct(spec.stem)
        self.backbone.stages = nn.ModuleList(
            nn.Sequential(*(MBConv(block, rates.pop(0) if drop else 0.0) for block in stage)) for stage in spec.stages
        )
        self.backbone.head_expand, self.backbone.head_mix = ConvBnAct(spec.head_expand), conv(spec.head_mix)
        self.dropout = nn.Dropout(static.head.dropout if drop else 0.0)
        self.head = nn.Module()
        self.head.fc = nn.Linear(spec.out_channels, static.head.num_classes)
        self.load_state_dict(static.state_dict())

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> logits."""
        if images.shape[-1] != self.resolution:
            images = F.interpolate(images, size=(self.resolution,) * 2, mode='bicubic')
        x = self.backbone.stem(images)
        for stage in self.backbone.stages:
            x = stage(x)
        x = F.adaptive_avg_pool2d(self.backbone.head_expand(x), 1)
        return self.head.fc(self.dropout(F.silu(self.backbone.head_mix(x)).flatten(1)))
