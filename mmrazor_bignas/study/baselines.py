"""mmcls's networks for mobile devices, scaled to a budget: what searched subnets are compared with.

They lie in memory as the supernet does, in channels_last.
"""

from __future__ import annotations

import torch
from mmcls.models import EfficientNet, MobileNetV3

from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space.net_spec import make_divisible


@MODELS.register_module()
class ScaledMobileNetV3(MobileNetV3):
    """MobileNetV3 small (arXiv:1905.02244, table 2) with a width multiplier.

    Args:
        width: Multiplier of all widths but the stem's, rounded to multiples of 8.
        **kwargs: Of mmcls's MobileNetV3.
    """

    def __init__(self, width: float, **kwargs) -> None:
        def scaled(channels: int) -> int:
            return make_divisible(channels * width)

        rows = [[kernel, scaled(mid), scaled(out), *rest] for kernel, mid, out, *rest in self.arch_settings['small']]
        self.arch_settings = {'small': rows}
        super().__init__(arch='small', **kwargs)
        self.to(memory_format=torch.channels_last)


@MODELS.register_module()
class ScaledEfficientNet(EfficientNet):
    """EfficientNet (arXiv:1905.11946, section 3) with multipliers below B0's 1.

    Args:
        width: Multiplier of all widths, rounded to multiples of 8.
        depth: Multiplier of the blocks of each stage, rounded up.
        **kwargs: Of mmcls's EfficientNet.
    """

    def __init__(self, width: float, depth: float = 1.0, **kwargs) -> None:
        _, _, resolution = self.arch_settings['b0']
        self.arch_settings = {'b0': (width, depth, resolution)}
        super().__init__(arch='b0', **kwargs)
        self.to(memory_format=torch.channels_last)
