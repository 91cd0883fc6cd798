"""AttentiveMobileNetV3: the supernet and every static subnet, one class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models.blocks import ConvBnAct, MBConv, pooled_features
from mmrazor_bignas.models.dynamic_layers import DynamicConv2d
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import NetSpec, SearchSpace, SubnetSpec, envelope, resolve
from mmrazor_bignas.search_space.lookup import find_subnet

# A supernet's running statistics never move: every subnet needs its own, from calibration.
SUPERNET_BN_MOMENTUM = 0.0
STATIC_BN_MOMENTUM = 0.1


@MODELS.register_module()
class AttentiveMobileNetV3(BaseModule):
    """The network of AttentiveNAS (arXiv:2011.09011, table 7), built at its largest size or as one subnet.

    Args:
        search_space: The table of choices, see :class:`~mmrazor_bignas.search_space.SearchSpace`.
        mutable_cfg: None builds the supernet. A subnet (SubnetSpec, dict, name or YAML path) builds the static network
            of that subnet alone.
        drop_path_rate: Block i of n has the rate ``drop_path_rate * i / n``...
        drop_path_stages: ... in the last stages, as many as said here, and 0 before.

    Raises:
        InputError: The space or the subnet is not valid.
    """

    def __init__(
        self,
        search_space: Mapping | SearchSpace,
        mutable_cfg: SubnetSpec | Mapping | str | Path | None = None,
        drop_path_rate: float = 0.0,
        drop_path_stages: int = 2,
    ) -> None:
        super().__init__()
        self.search_space = SearchSpace.from_dict(search_space)
        self.subnet = None if mutable_cfg is None else find_subnet(mutable_cfg, self.search_space)
        self.spec = envelope(self.search_space) if self.subnet is None else resolve(self.search_space, self.subnet)
        momentum = SUPERNET_BN_MOMENTUM if self.subnet is None else STATIC_BN_MOMENTUM

        self.stem = ConvBnAct(self.spec.stem, momentum)
        num_blocks = sum(map(len, self.spec.stages))
        first_dropped_stage = len(self.spec.stages) - drop_path_stages
        self.stages = nn.ModuleList()
        index = 0
        for i, stage in enumerate(self.spec.stages):
            blocks = nn.ModuleList()
            for block in stage:
                rate = drop_path_rate * index / num_blocks if i >= first_dropped_stage else 0.0
                blocks.append(MBConv(block, momentum, rate))
                index += 1
            self.stages.append(blocks)
        self.head_expand = ConvBnAct(self.spec.head_expand, momentum)
        self.head_mix = DynamicConv2d(self.spec.head_mix)

    @property
    def out_channels(self) -> int:
        """Length of the feature vector at full size."""
        return self.spec.out_channels

    def spec_of(self, subnet: SubnetSpec | None) -> NetSpec:
        """What runs for ``subnet``; None means the whole: the static network itself, or the supernet's largest subnet.

        Raises:
            InputError: A static network is asked for a subnet.
        """
        if self.subnet is not None:
            if subnet is not None:
                raise InputError('this network is one static subnet and runs no other; build the supernet instead')
            return self.spec
        return resolve(self.search_space, self.search_space.largest if subnet is None else subnet)

    def forward(self, images: Tensor, subnet: SubnetSpec | None = None, drop: bool = True) -> tuple[Tensor]:
        """Features of normalised images.

        Args:
            images: (N, 3, H, W); resized to the subnet's resolution here.
            subnet: What to run, see :meth:`spec_of`.
            drop: Whether drop path acts in training mode.

        Returns:
            One tensor (N, head width), in a tuple as mmcls heads expect it.
        """
        spec = self.spec_of(subnet)
        x = self.stem(resize(images, spec.resolution), spec.stem)
        for blocks, block_specs in zip(self.stages, spec.stages, strict=True):
            for block, block_spec in zip(blocks, block_specs, strict=False):  # depth keeps the first blocks
                x = block(x, block_spec, drop)
        return (pooled_features(x, self.head_expand, spec.head_expand, self.head_mix, spec.head_mix),)


def resize(images: Tensor, resolution: int) -> Tensor:
    """Bicubic, to a square of ``resolution`` pixels; untouched where they have that size."""
    if images.shape[-2:] == (resolution, resolution):
        return images
    return F.interpolate(images, size=(resolution, resolution), mode='bicubic', align_corners=False)
