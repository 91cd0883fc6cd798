"""The image classifier around the backbone. The one file that imports mmcls models."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.kernels import memory_format
from mmrazor_bignas.models.attentive_mobilenet_v3 import resize, wrong_channels
from mmrazor_bignas.models.dynamic_layers import DynamicLinear
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import Cost, SearchSpace, SubnetSpec, estimate

with warnings.catch_warnings():
    # mmcv-lite says at import that it has no compiled operations; none is used here.
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    from mmcls.models import ClsDataPreprocessor as MMClsDataPreprocessor
    from mmcls.models import ClsHead, ImageClassifier
    from mmcls.structures import ClsDataSample


@MODELS.register_module()
class ClsDataPreprocessor(MMClsDataPreprocessor):
    """mmcls's, whose copies to a GPU nobody waits for: pinned memory goes there while the program goes on.

    With ``batch_augments`` (``Mixup``, ``CutMix``, ``ResizeMix``) images of a training's batch are mixed, from numpy's
    and torch's global generators, and their labels become shares of classes (:func:`targets_of`).

    Args:
        mean: Of every channel of the images.
        **kwargs: Of mmcls's ClsDataPreprocessor.

    Raises:
        InputError: mmcls refuses them.
    """

    def __init__(self, mean: Sequence[float] | None = None, **kwargs) -> None:
        to_onehot = bool(kwargs.get('batch_augments'))  # else mmcls sets it, and says so for each candidate of a search
        try:
            super().__init__(mean=mean, **{'to_onehot': to_onehot, **kwargs})
        except AssertionError as error:
            words = str(error) or 'alpha of batch_augments is not a float above 0, such as 1.0'
            raise InputError(f'data_preprocessor: {words}; found {kwargs}') from error
        self.channels = len(mean) if mean is not None and len(mean) > 1 else None

    def forward(self, data: dict, training: bool = False) -> dict:
        """A batch of the data loader -> images (N, C, H, W), normalised, and labels, on the network's device.

        Raises:
            InputError: The images have another number of channels than there are means: grey ones would be repeated.
        """
        images = data['inputs']
        for channels in {image.shape[-3] for image in ([images] if isinstance(images, Tensor) else images)}:
            if self.channels not in (None, channels):
                raise InputError(wrong_channels(channels, self.channels))
        self._non_blocking = self.device.type == 'cuda'  # else images on a GPU would be read before they are here
        samples = data.get('data_samples') or []
        if samples and all('gt_label' in sample and 'label' in sample.gt_label for sample in samples):
            labels = torch.cat([sample.gt_label.label for sample in samples])
            if self.device.type == 'cuda' and not labels.is_cuda:
                labels = labels.pin_memory()
            sizes = [len(sample.gt_label.label) for sample in samples]
            for sample, label in zip(
                samples, labels.to(self.device, non_blocking=self._non_blocking).split(sizes), strict=True
            ):
                sample.set_gt_label(label)
        return super().forward(data, training)


@MODELS.register_module()
class DynamicLinearClsHead(ClsHead):
    """Dropout and a linear layer over the first input features.

    Args:
        in_channels: Features at full size; the classifier fills it in from its backbone.
        num_classes: Outputs.
        dropout: Rate, in training mode, where :meth:`forward` is told to drop.
        **kwargs: Of mmcls's ClsHead (``loss``, ``topk``, ``cal_acc``).
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.dropout = dropout
        self.fc = DynamicLinear(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...], drop: bool = True) -> Tensor:
        """(N, C) as the last of ``feats`` -> logits (N, num_classes)."""
        x = self.pre_logits(feats)
        return self.fc(F.dropout(x, self.dropout, training=self.training and drop))

    def loss_of_logits(self, logits: Tensor, data_samples: list[ClsDataSample]) -> Tensor:
        """The label loss (scalar) of logits (N, num_classes), computed in float32."""
        return self._get_loss(logits.float(), data_samples)['loss']

    def cross_entropy(self, logits: Tensor, data_samples: list[ClsDataSample]) -> Tensor:
        """The cross entropy (scalar) of logits (N, num_classes) without label smoothing, computed in float32."""
        return F.cross_entropy(logits.float(), targets_of(data_samples))

    def labels_of(self, data_samples: list[ClsDataSample]) -> Tensor:
        """Labels (N,); of a soft label, as mixing of images makes it, the class with the largest share."""
        targets = targets_of(data_samples)
        return targets.argmax(1) if targets.ndim == 2 else targets


def targets_of(data_samples: list[ClsDataSample]) -> Tensor:
    """Labels (N,), or shares of classes (N, num_classes) where a batch augmentation mixed images."""
    labels = [sample.gt_label for sample in data_samples]
    if 'score' in labels[0]:
        return torch.stack([label.score for label in labels])
    return torch.cat([label.label for label in labels])


@MODELS.register_module()
class SearchableImageClassifier(ImageClassifier):
    """An image classifier that is a supernet, or one static subnet of it.

    As an ``nn.Module`` it takes normalised images (N, C, H, W) and gives logits (N, num_classes).

    Args:
        backbone: Config of the backbone, with its ``search_space``.
        head: Config of the head; its ``in_channels`` comes from the backbone.
        data_preprocessor: Config of the preprocessor, which the classifier owns; ``num_classes`` comes from the head.
        mutable_cfg: None for the supernet, else the subnet to build (SubnetSpec, dict, name or YAML path).
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        data_preprocessor: dict | None = None,
        mutable_cfg: SubnetSpec | Mapping | str | Path | None = None,
    ) -> None:
        self._config = copy.deepcopy({'backbone': backbone, 'head': head, 'data_preprocessor': data_preprocessor})
        backbone = MODELS.build({**backbone, 'mutable_cfg': mutable_cfg})
        preprocessor = {'type': 'mmrazor_bignas.ClsDataPreprocessor', 'num_classes': head.get('num_classes')}
        super().__init__(
            backbone=backbone,
            head={**head, 'in_channels': backbone.out_channels},
            data_preprocessor={**preprocessor, **copy.deepcopy(data_preprocessor or {})},
        )
        if backbone.out_indices is not None:
            raise InputError('backbone.out_indices is for feature maps under a detector; a classifier has none')
        channels, means = self.search_space.in_channels, self.data_preprocessor.channels
        if means not in (None, channels):
            raise InputError(
                f'data_preprocessor has {means} means, but the network takes images of {channels} channels '
                '(backbone.in_channels); expected as many means, and deviations, or one for all'
            )
        # One layout for supernet, static twin and exported file, so that all round alike.
        self.to(memory_format=memory_format())

    @property
    def search_space(self) -> SearchSpace:
        return self.backbone.search_space

    @property
    def subnet(self) -> SubnetSpec | None:
        """The subnet this network is, or None for a supernet."""
        return self.backbone.subnet

    def twin(self, subnet: SubnetSpec | None) -> SearchableImageClassifier:
        """The same configuration as the static network of ``subnet``, or as the supernet; with new weights."""
        return type(self)(**self._config, mutable_cfg=subnet)

    def cost(self, subnet: SubnetSpec | None = None) -> Cost:
        """Exact FLOPs and params of what runs for ``subnet``."""
        return estimate(self.backbone.spec_of(subnet), self.head.num_classes)

    def resize(self, images: Tensor, subnet: SubnetSpec | None = None) -> Tensor:
        """Images (N, C, H, W) as :meth:`forward` uses them: at the subnet's resolution, in the network's layout."""
        images = resize(images, self.backbone.spec_of(subnet).resolution)
        return images.contiguous(memory_format=memory_format())

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[ClsDataSample] | None = None,
        mode: str = 'tensor',
        subnet: SubnetSpec | None = None,
        drop: bool = True,
    ) -> Tensor | dict[str, Tensor] | list[ClsDataSample]:
        """Run the whole network, or ``subnet`` of it.

        Args:
            inputs: Normalised images, (N, C, H, W), with as many channels as the backbone takes.
            data_samples: Annotations, for the modes 'loss' and 'predict'.
            mode: 'tensor' for logits (N, num_classes), 'loss' for a dict of losses, 'predict' for data samples with
                predictions.
            subnet: What to run; None is the whole (of a supernet: its largest subnet).
            drop: Whether dropout and drop path act in training mode.
        """
        logits = self.head(self.backbone(inputs, subnet=subnet, drop=drop), drop=drop)
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return {'loss': self.head.loss_of_logits(logits, data_samples)}
        if mode == 'predict':
            return self.head._get_predictions(logits.float(), data_samples)
        raise InputError(f"mode is {mode!r}; expected 'tensor', 'loss' or 'predict'")


@MODELS.register_module()
def Subnet(architecture: dict, mutable_cfg: SubnetSpec | Mapping | str | Path) -> SearchableImageClassifier:
    """One subnet as a static classifier: what a config's ``algorithm`` is when it tests or deploys a subnet.

    Args:
        architecture: Config of the supernet's classifier.
        mutable_cfg: The subnet: SubnetSpec, dict, name or YAML path.
    """
    return MODELS.build({**architecture, 'mutable_cfg': mutable_cfg})
