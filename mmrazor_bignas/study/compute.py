"""What a training computes, so that trainings of equal compute can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec
from mmrazor_bignas.search_space.cost_table import CostTable

STEPS = 500  # sampled
FORWARD_AND_BACKWARD = 3  # a backward pass takes two products for every one of the forward pass


def training_flops(config: Path, space: SearchSpace) -> float:
    """Expected FLOPs (multiply-adds) per training image, over all epochs, of a supernet's training."""
    cfg = load_config(str(config))
    sampler, cost = TASK_UTILS.build(cfg.algorithm.sampler), CostTable(space, 0)
    forward: list[int] = []  # of candidates, which are only scored

    def score(candidates: Sequence[SubnetSpec]) -> list[float]:
        forward.extend(cost(subnet).flops for subnet in candidates)
        return [0.0] * len(candidates)

    trained = [cost(subnet).flops for step in range(STEPS) for subnet in sampler(space, step, score).values()]
    return cfg.train_cfg.max_epochs * (FORWARD_AND_BACKWARD * sum(trained) + sum(forward)) / STEPS
