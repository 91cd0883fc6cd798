"""BN calibration: the running statistics of a subnet, from fixed batches."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.precision import autocast
from mmrazor_bignas.engine.progress import track


@torch.no_grad()
def calibrate_batch_norm(model: nn.Module, batches: FixedBatches, amp: bool = False) -> None:
    """Reset and re-estimate every running statistic, in place; the model is left in eval mode.

    Only batch normalisation runs in training mode: dropout and drop path stay off. Statistics are the exact average
    over batches, weighted by their images (BigNAS, arXiv:2003.11142, section 3.3). Where ranks share the batches, one
    reduction combines their parts.

    Args:
        model: A static network with a mmengine ``data_preprocessor``, which is applied to the batches.
        batches: Batches of images as a data loader gives them.
        amp: Whether to run under bfloat16 autocast; the statistics stay float32.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    for batch in track(batches, 'calibrate', len(batches)):
        images = model.data_preprocessor({'inputs': batch['inputs']}, training=False)['inputs']
        seen += len(images)
        for norm in norms:
            norm.momentum = len(images) / seen  # makes the moving average the average of all so far
        with autocast(model, amp):
            model(images)
    if batches.skip_unreadable:
        batches.count_unreadable()  # which says which
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    if batches.world_size > 1:
        _average_over_ranks(norms, seen)


def _average_over_ranks(norms: list[_BatchNorm], weight: int) -> None:
    statistics = [stat for norm in norms for stat in (norm.running_mean, norm.running_var)]
    # One flat tensor: every statistic times this rank's images, then the number of images.
    flat = torch.cat([*(stat.flatten() for stat in statistics), statistics[0].new_ones(1)]) * weight
    all_reduce(flat)
    for stat, total in zip(statistics, flat[:-1].split([stat.numel() for stat in statistics]), strict=True):
        stat.copy_((total / flat[-1]).view_as(stat))
