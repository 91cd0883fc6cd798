"""Subnets of one supernet on the test images: with statistics of their own, or with the largest's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from torch import nn

from mmrazor_bignas.api import load_static
from mmrazor_bignas.engine import FixedBatches, measure
from mmrazor_bignas.models.dynamic_layers import slice_param
from mmrazor_bignas.search_space import SubnetSpec


def evaluate_subnets(
    cfg: Config, checkpoint: str | Path, subnets: Mapping[str, SubnetSpec | str | Path], calibrate: bool = True
) -> dict[str, dict[str, float]]:
    """Metrics, FLOPs and params of subnets cut out of a supernet.

    Args:
        cfg: Config of a subnet's test.
        checkpoint: The supernet's.
        subnets: The subnets by name.
        calibrate: Whether each subnet's statistics are calibrated. If not, it gets the largest subnet's, cut to its
            size: what is left of a calibration that was made once.

    Raises:
        InputError: A file is missing or wrong, or a subnet is not of the space.
    """
    shared = None if calibrate else load_static(cfg, 'max', checkpoint)[0]
    found = {}
    batches = None
    for name, subnet in subnets.items():
        model, _ = load_static(cfg, subnet, checkpoint, calibrate=calibrate)
        if shared is not None:
            share_statistics(model, shared)
        batches = batches or FixedBatches(**cfg.test_dataloader)
        cost = model.cost()
        metrics = measure(model, batches, Evaluator(cfg.test_evaluator))
        found[name] = {**metrics, 'flops': cost.flops, 'params': cost.params}
    return found


@torch.no_grad()
def share_statistics(model: nn.Module, source: nn.Module) -> None:
    """Give a subnet the first channels of a larger one's running statistics."""
    for name, buffer in model.named_buffers():
        if name.endswith(('running_mean', 'running_var')):
            buffer.copy_(slice_param(source.get_buffer(name), buffer.shape))
