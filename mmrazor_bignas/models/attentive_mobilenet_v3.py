"""AttentiveMobileNetV3: the supernet and every static subnet, one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate
from math import prod
from operator import mul
from pathlib import Path

import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models.blocks import ConvBnAct, MBConv, pooled_features
from mmrazor_bignas.models.dynamic_layers import DynamicConv2d
from mmrazor_bignas.models.state import load_pretrained
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import Cost, NetSpec, SearchSpace, SubnetSpec, envelope, estimate, resolve
from mmrazor_bignas.search_space.lookup import CONFIG_ROOT, find_subnet

# A supernet's running statistics never move: every subnet needs its own, from calibration.
SUPERNET_BN_MOMENTUM = 0.0
STATIC_BN_MOMENTUM = 0.1
PUBLISHED_SPACE = CONFIG_ROOT / '_base_/nas_backbones/attentive_mobilenet_v3_supernet.py'


@MODELS.register_module()
class AttentiveMobileNetV3(BaseModule):
    """The network of AttentiveNAS (arXiv:2011.09011, table 7), built at its largest size or as one subnet.

    With ``out_indices`` it is a backbone as detectors have them: feature maps of stages, of images of any size. What
    comes after the last of these stages is then not built, so that no parameter is without a gradient.

    Args:
        search_space: The table of choices, see :class:`~mmrazor_bignas.search_space.SearchSpace`, or the path of a
            config that has it; None is AttentiveNAS's, of which the published subnets are.
        mutable_cfg: None builds the supernet. A subnet (SubnetSpec, dict, name or YAML path) builds the static network
            of that subnet alone.
        drop_path_rate: Block i of n has the rate ``drop_path_rate * i / n``...
        drop_path_stages: ... in the last stages, as many as said here, and 0 before.
        in_channels: Of the images; None is what the search space says, 3 where it says nothing.
        out_indices: Stages whose feature maps :meth:`forward` gives, from 0 on, ascending; of a static network alone.
        frozen_stages: 0 trains all but the stem, k neither the stem nor the first k stages; -1 trains all. What is
            frozen in a static network is in eval mode, too; in a supernet it is normalised by the batch.
        norm_eval: Whether batch normalisation keeps its running statistics in training, of a static network alone.
            Its scales and shifts are trained.
        init_cfg: Of mmengine. ``dict(type='Pretrained', checkpoint=FILE, prefix='backbone.')`` begins with an exported
            subnet's weights.

    Attributes:
        feature_channels: Channels of the maps of ``out_indices``.
        feature_strides: Pixels of the image for one of such a map, in each direction.

    Raises:
        InputError: The space, the subnet or an option is not valid.
    """

    def __init__(
        self,
        search_space: Mapping | SearchSpace | str | Path | None = None,
        mutable_cfg: SubnetSpec | Mapping | str | Path | None = None,
        drop_path_rate: float = 0.0,
        drop_path_stages: int = 2,
        in_channels: int | None = None,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.search_space = find_space(search_space).with_channels(in_channels)
        self.subnet = None if mutable_cfg is None else find_subnet(mutable_cfg, self.search_space)
        spec = envelope(self.search_space) if self.subnet is None else resolve(self.search_space, self.subnet)
        self.out_indices = _checked_indices(out_indices, len(spec.stages), self.subnet)
        num_stages, num_blocks = len(spec.stages), sum(map(len, spec.stages))
        if self.out_indices is not None:
            spec = replace(spec, stages=spec.stages[: self.out_indices[-1] + 1])
        self.spec = spec
        of_stages = (prod(block.depthwise.stride for block in stage) for stage in spec.stages)
        strides = list(accumulate(of_stages, mul, initial=spec.stem.stride))[1:]
        self.feature_strides = tuple(strides[i] for i in self.out_indices or ())
        self.feature_channels = tuple(spec.stages[i][-1].project.out_channels for i in self.out_indices or ())
        momentum = SUPERNET_BN_MOMENTUM if self.subnet is None else STATIC_BN_MOMENTUM

        self.stem = ConvBnAct(spec.stem, momentum)
        first_dropped_stage = num_stages - drop_path_stages
        self.stages = nn.ModuleList()
        index = 0
        for i, stage in enumerate(spec.stages):
            blocks = nn.ModuleList()
            for block in stage:
                rate = drop_path_rate * index / num_blocks if i >= first_dropped_stage else 0.0
                blocks.append(MBConv(block, momentum, rate))
                index += 1
            self.stages.append(blocks)
        if self.out_indices is None:
            self.head_expand = ConvBnAct(spec.head_expand, momentum)
            self.head_mix = DynamicConv2d(spec.head_mix)

        if type(frozen_stages) is not int or not -1 <= frozen_stages <= len(spec.stages):
            raise InputError(
                f'backbone.frozen_stages is {frozen_stages!r}; expected -1 (none), 0 (the stem) or up to '
                f'{len(spec.stages)} (the stem and so many stages)'
            )
        self.norm_eval = norm_eval
        self._frozen = [] if frozen_stages < 0 else [self.stem, *self.stages[:frozen_stages]]
        for part in self._frozen:
            part.requires_grad_(False)

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

    def cost(self, size: tuple[int, int]) -> Cost:
        """Exact FLOPs and params of a network with ``out_indices``, for images of (height, width) pixels."""
        return estimate(self.spec, None, size)

    def train(self, mode: bool = True) -> AttentiveMobileNetV3:
        """torch's, but for what is frozen.

        Raises:
            InputError: ``norm_eval`` with a supernet.
        """
        super().train(mode)
        if mode and self.norm_eval:
            if self.subnet is None:
                raise InputError(
                    'backbone.norm_eval is True; expected False: a supernet has no running statistics to keep, each '
                    'subnet is normalised by its batch'
                )
            for norm in self.modules():
                if isinstance(norm, _BatchNorm):
                    norm.eval()
        if mode and self.subnet is not None:
            for part in self._frozen:
                part.eval()
        return self

    def init_weights(self) -> None:
        """mmengine's, where a pretrained checkpoint must have all weights.

        Raises:
            InputError: It is of another network.
        """
        configs = [self.init_cfg] if isinstance(self.init_cfg, Mapping) else self.init_cfg or []
        pretrained = [one for one in configs if one.get('type') == 'Pretrained']
        own, self.init_cfg = self.init_cfg, [one for one in configs if one not in pretrained] or None
        super().init_weights()
        self.init_cfg = own
        for one in pretrained:
            load_pretrained(self, **{key: value for key, value in one.items() if key != 'type'})

    def forward(self, images: Tensor, subnet: SubnetSpec | None = None, drop: bool = True) -> tuple[Tensor, ...]:
        """Features of normalised images.

        Args:
            images: (N, in_channels, H, W); resized to the subnet's resolution here, unless there are ``out_indices``.
            subnet: What to run, see :meth:`spec_of`.
            drop: Whether drop path acts in training mode.

        Returns:
            One tensor (N, head width), in a tuple as mmcls heads expect it; or the map of every stage in
            ``out_indices``, (N, channels, H / stride, W / stride), sides rounded up.

        Raises:
            InputError: The images have another number of channels.
        """
        spec = self.spec_of(subnet)
        if images.shape[1:2] != (spec.stem.in_channels,):
            raise InputError(wrong_channels(images.shape[1], spec.stem.in_channels))
        x = self.stem(images if self.out_indices else resize(images, spec.resolution), spec.stem)
        maps = []
        for i, (blocks, block_specs) in enumerate(zip(self.stages, spec.stages, strict=True)):
            for block, block_spec in zip(blocks, block_specs, strict=False):  # depth keeps the first blocks
                x = block(x, block_spec, drop)
            if self.out_indices and i in self.out_indices:
                maps.append(x)
        if self.out_indices:
            return tuple(maps)
        return (pooled_features(x, self.head_expand, spec.head_expand, self.head_mix, spec.head_mix),)


def find_space(search_space: Mapping | SearchSpace | str | Path | None) -> SearchSpace:
    """The search space that a config means.

    Args:
        search_space: The table, a SearchSpace, the path of a config that has it under
            ``algorithm.architecture.backbone``, or None for AttentiveNAS's.

    Raises:
        InputError: The file is missing or has no table, or the table is not valid.
    """
    if search_space is not None and not isinstance(search_space, (str, Path)):
        return SearchSpace.from_dict(search_space)
    return _space_in(Path(search_space or PUBLISHED_SPACE))


@cache
def _space_in(path: Path) -> SearchSpace:
    if path.suffix != '.py' or not path.is_file():
        raise InputError(f'backbone.search_space is {str(path)!r}; expected a table, or the file of a config (.py)')
    try:
        return SearchSpace.of_backbone(Config.fromfile(path).algorithm.architecture.backbone)
    except (AttributeError, KeyError) as error:
        raise InputError(f'{path}: has no key "algorithm.architecture.backbone.search_space"') from error


def wrong_channels(found: int, expected: int) -> str:
    """What to say of images that the network cannot take."""
    return (
        f'the images have {found} channels, the network takes {expected}: load the images with as many channels '
        "(LoadImageFromFile has color_type='grayscale' and 'color'), or set backbone.in_channels and as many values of "
        'data_preprocessor.mean and std'
    )


def _checked_indices(
    indices: Sequence[int] | None, num_stages: int, subnet: SubnetSpec | None
) -> tuple[int, ...] | None:
    if indices is None:
        return None
    row = tuple(indices) if isinstance(indices, (list, tuple)) else ()
    in_range = all(type(i) is int and 0 <= i < num_stages for i in row)
    if not row or not in_range or list(row) != sorted(set(row)):
        raise InputError(
            f'backbone.out_indices is {indices!r}; expected stages of 0 to {num_stages - 1}, ascending, each once'
        )
    if subnet is None:
        raise InputError('backbone.out_indices needs mutable_cfg: feature maps are those of one subnet')
    return row


def resize(images: Tensor, resolution: int) -> Tensor:
    """Bicubic, to a square of ``resolution`` pixels; untouched where they have that size."""
    if images.shape[-2:] == (resolution, resolution):
        return images
    return F.interpolate(images, size=(resolution, resolution), mode='bicubic', align_corners=False)
