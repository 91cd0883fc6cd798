"""From a supernet to a static subnet with the supernet's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmrazor_bignas.models.classifier import SearchableImageClassifier
from mmrazor_bignas.models.dynamic_layers import slice_param
from mmrazor_bignas.search_space import SubnetSpec


@torch.no_grad()
def inherit_weights(subnet: nn.Module, supernet_state: Mapping[str, Tensor]) -> None:
    """Fill a static subnet with its slices of a supernet's state dict, in place.

    Running statistics are sliced too, but are those of no subnet: calibrate before measuring anything.
    """
    for key, value in subnet.state_dict().items():
        value.copy_(slice_param(supernet_state[key], value.shape))


def extract_subnet(supernet: SearchableImageClassifier, subnet: SubnetSpec) -> SearchableImageClassifier:
    """A static classifier with the weights of ``subnet``, on the supernet's device, in eval mode. Not calibrated."""
    static = supernet.twin(subnet).to(next(supernet.parameters()).device)
    inherit_weights(static, supernet.state_dict())
    return static.eval()
