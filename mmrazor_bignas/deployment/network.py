"""The network as a file holds it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmrazor_bignas.deployment.preprocessing import Preprocessing
from mmrazor_bignas.models import SearchableImageClassifier


class DeployedNetwork(nn.Module):
    """A static network with what was asked for before and after it.

    Args:
        static: The network, in eval mode; copied to the CPU.
        card: See :func:`~mmrazor_bignas.deployment.card.make_card`.
    """

    def __init__(self, static: SearchableImageClassifier, card: Mapping[str, Any]) -> None:
        super().__init__()
        self.static = copy.deepcopy(static).cpu().requires_grad_(False)
        self.takes_levels = card['input']['dtype'] == 'uint8'
        self.softmax = card['output']['kind'] == 'probabilities'
        preprocessing = Preprocessing.from_dict(card['preprocessing'])
        self.flips = preprocessing.channels != card['input']['channels']
        for name in ('mean', 'std'):
            self.register_buffer(name, torch.tensor(getattr(preprocessing, name)).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images as the card's ``input`` says -> (N, classes) as its ``output`` says."""
        if self.takes_levels:
            images = images.permute(0, 3, 1, 2).float()
            if self.flips:
                images = images.flip(1)
            images = (images - self.mean) / self.std
        scores = self.static(images)
        return scores.softmax(1) if self.softmax else scores


def as_input(images: Tensor, card: Mapping[str, Any]) -> Tensor:
    """What a file takes of images.

    Args:
        images: (N, 3, H, W) uint8 in BGR, as a pipeline gives them.
        card: The file's.
    """
    if card['input']['channels'] == 'RGB':
        images = images.flip(1)
    if card['input']['dtype'] == 'uint8':
        return images.permute(0, 2, 3, 1).contiguous()
    mean, std = (torch.tensor(card['preprocessing'][name]).view(1, -1, 1, 1) for name in ('mean', 'std'))
    return ((images.float() - mean) / std).contiguous()


def architecture_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the static network of a card."""
    return {
        'type': 'mmrazor_bignas.SearchableImageClassifier',
        'backbone': {'type': 'mmrazor_bignas.AttentiveMobileNetV3', 'search_space': card['search_space']},
        'head': {'type': 'mmrazor_bignas.DynamicLinearClsHead', 'num_classes': card['num_classes']},
        'data_preprocessor': Preprocessing.from_dict(card['preprocessing']).data_preprocessor(),
        'mutable_cfg': card['subnet'],
    }
