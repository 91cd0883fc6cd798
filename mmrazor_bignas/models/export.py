"""From a supernet to a static subnet with the supernet's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmrazor_bignas.kernels import slice_param
from mmrazor_bignas.models.classifier import SearchableImageClassifier
from mmrazor_bignas.models.dynamic_layers import weights_as_shapes
from mmrazor_bignas.search_space import SubnetSpec


@torch.no_grad()
def inherit_weights(subnet: nn.Module, supernet_state: Mapping[str, Tensor]) -> None:
    """Fill a static subnet with its slices of a supernet's state dict, in place.

    Weights on the meta device are replaced by new ones on the device of the state dict.
    Running statistics are sliced too, but are those of no subnet: calibrate before measuring anything.
    """
    for key, value in subnet.state_dict().items():
        part = slice_param(supernet_state[key], value.shape)
        if value.is_meta:
            layer, _, name = key.rpartition('.')
            # In the layout of the shape; torch.empty_like takes ten times as long for what is on the meta device.
            weight = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=part.device)
            setattr(subnet.get_submodule(layer), name, nn.Parameter(weight.copy_(part)))
        else:
            value.copy_(part)


def extract_subnet(supernet: SearchableImageClassifier, subnet: SubnetSpec) -> SearchableImageClassifier:
    """A static classifier with the weights of ``subnet``, on the supernet's device, in eval mode. Not calibrated.

    Draws no random numbers.
    """
    with weights_as_shapes():
        static = supernet.twin(subnet)
    inherit_weights(static, supernet.state_dict())
    device = next(supernet.parameters()).device
    if next(static.buffers()).device != device:  # else a walk over all tensors for nothing
        static.to(device)
    return static.eval()
