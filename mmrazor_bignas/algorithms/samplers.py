"""Samplers: which subnets a training step runs."""

from __future__ import annotations

from random import Random

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec


@TASK_UTILS.register_module()
class SandwichSampler:
    """The sandwich rule (arXiv:1903.05134, section 3.1): the largest, some random and the smallest subnet.

    A pure function of seed and step, so that all ranks and a resumed run agree without talking.

    Args:
        num_random: Random subnets per step.
        seed: Seed of the random ones.
    """

    def __init__(self, num_random: int = 2, seed: int = 0) -> None:
        if num_random < 0:
            raise InputError(f'sampler: num_random is {num_random}; expected 0 or more')
        self.num_random = num_random
        self.seed = seed

    def __call__(self, space: SearchSpace, step: int) -> dict[str, SubnetSpec]:
        """Named subnets in the order they are run, the teacher first."""
        rng = Random(f'{self.seed}/{step}')
        randoms = {f'random{i + 1}': space.sample(rng) for i in range(self.num_random)}
        return {'largest': space.largest, **randoms, 'smallest': space.smallest}
