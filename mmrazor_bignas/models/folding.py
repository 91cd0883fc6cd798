"""Batch normalisation folded into the convolution before it: the same function, with a pass over the features less."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mmrazor_bignas.models.blocks import ConvBnAct
from mmrazor_bignas.models.classifier import SearchableImageClassifier
from mmrazor_bignas.models.dynamic_layers import act_and_add


@torch.no_grad()
def fold_batch_norm(static: SearchableImageClassifier) -> SearchableImageClassifier:
    """A copy to run in eval mode that gives a static network's outputs up to rounding, without batch normalisation.

    The network itself stays as it is. The copy shares with it every tensor that folding does not change, and is no
    network to train, calibrate or keep as a checkpoint.
    """
    shared = {id(tensor): tensor for tensor in chain(static.parameters(), static.buffers())}
    folded = copy.deepcopy(static, shared)
    for module in folded.modules():
        if isinstance(module, ConvBnAct):
            conv, bn = module.conv, module.bn
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
            )
            module.bn = NoNorm()
    return folded


class NoNorm(nn.Module):
    """What stands in the place of a folded DynamicBatchNorm2d."""

    def forward(self, x: Tensor, act: bool, added: Tensor | None, moments: None) -> Tensor:
        """What follows the normalisation."""
        return act_and_add(x, act, added)
