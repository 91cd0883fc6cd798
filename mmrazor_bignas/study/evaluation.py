"""Subnets of one supernet on the test images: with statistics of their own, or with the largest's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from torch import nn

from mmrazor_bignas.api import load_static
from mmrazor_bignas.engine import FixedBatches, measure
from mmrazor_bignas.engine.calibration import calibrate_batch_norm
from mmrazor_bignas.engine.loops import calibration_batches
from mmrazor_bignas.kernels import slice_param
from mmrazor_bignas.models import SearchableImageClassifier
from mmrazor_bignas.search_space import SubnetSpec


def evaluate_subnets(
    cfg: Config,
    checkpoint: str | Path,
    subnets: Mapping[str, SubnetSpec | str | Path],
    statistics_of_largest: bool = False,
) -> dict[str, dict[str, float]]:
    """Metrics, FLOPs and params of subnets cut out of a supernet, or of one that was trained alone; all calibrated.

    Args:
        cfg: Config of a subnet's test.
        checkpoint: The supernet's, or that of a training of the one subnet.
        subnets: The subnets by name.
        statistics_of_largest: Instead of being calibrated, each subnet gets the largest one's statistics, cut to its
            size: what is left of a calibration that was made once.

    Raises:
        InputError: A file is missing or wrong, or a subnet is not of the space.
    """
    loop = cfg.test_cfg
    init_default_scope(cfg.default_scope)
    batches = FixedBatches(**cfg.test_dataloader)
    calibration = calibration_batches(loop.calibrate_dataloader, loop.calibrate_sample_num, loop.get('seed', 0))

    def cut(subnet: SubnetSpec | str | Path) -> SearchableImageClassifier:
        return load_static(cfg, subnet, checkpoint, calibrate=False)[0]

    largest = cut('max') if statistics_of_largest else None
    if largest is not None:
        calibrate_batch_norm(largest, calibration)
    found = {}
    for name, subnet in subnets.items():
        model = cut(subnet)
        if largest is None:
            calibrate_batch_norm(model, calibration)
        else:
            share_statistics(model, largest)
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
