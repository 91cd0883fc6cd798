"""Samplers: which subnets a training step runs.

A sampler is called with the search space, the step and ``score``, and returns named subnets in the order they are run.
``score`` gives each of some candidates its score on the step's batch, higher being better, the same on every rank; it
costs a forward pass per candidate. What a sampler returns is a pure function of its seed, the step and the scores, so
that all ranks and a resumed run agree without talking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from mmrazor_bignas.algorithms.flops_prior import flops_prior, generator
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec

Score = Callable[[Sequence[SubnetSpec]], list[float]]


@TASK_UTILS.register_module()
class SandwichSampler:
    """The sandwich rule (arXiv:1903.05134, section 3.1): the largest, some random and the smallest subnet.

    Args:
        num_random: Random subnets per step.
        seed: Seed of the random ones.

    Raises:
        InputError: ``num_random`` is negative.
    """

    def __init__(self, num_random: int = 2, seed: int = 0) -> None:
        check_at_least(0, num_random=num_random)
        self.num_random, self.seed = num_random, seed

    def __call__(self, space: SearchSpace, step: int, score: Score) -> dict[str, SubnetSpec]:
        """Named subnets in the order they are run, the teacher first."""
        return {
            'largest': space.largest,
            **random_subnets(space, self.num_random, self.seed, step),
            'smallest': space.smallest,
        }


@TASK_UTILS.register_module()
class UniformSampler:
    """Random subnets alone, as in single-path one-shot training (arXiv:1904.00420), to compare the sandwich rule with.

    Distillation then takes the first of them as the teacher; ``distillation=None`` trains all on the labels.

    Args:
        num_random: Subnets per step.
        seed: Seed of the draws.

    Raises:
        InputError: ``num_random`` is below 1.
    """

    def __init__(self, num_random: int = 4, seed: int = 0) -> None:
        check_at_least(1, num_random=num_random)
        self.num_random, self.seed = num_random, seed

    def __call__(self, space: SearchSpace, step: int, score: Score) -> dict[str, SubnetSpec]:
        """Named subnets in the order they are run, the teacher first."""
        return random_subnets(space, self.num_random, self.seed, step)


class AttentiveSampler:
    """The sandwich rule with picked subnets in the place of random ones (AttentiveNAS, arXiv:2011.09011, section 3).

    For each of them a bin of FLOPs is drawn by its frequency in the space, candidates are drawn in it, and one is
    picked by its score on the batch.

    Args:
        num_random: Picked subnets per step.
        num_candidates: Candidates for each of them.
        bin_flops: Width of a bin in multiply-adds.
        num_samples: Random subnets that the frequencies are estimated from.
        seed: Seed of every draw.

    Raises:
        InputError: A number is too small.
    """

    name: str
    pick: Callable[[list[float]], float]

    def __init__(
        self,
        num_random: int = 2,
        num_candidates: int = 3,
        bin_flops: float = 25e6,
        num_samples: int = 100_000,
        seed: int = 0,
    ) -> None:
        check_at_least(1, num_random=num_random, num_samples=num_samples)
        check_at_least(2, num_candidates=num_candidates)
        if not bin_flops > 0:
            raise InputError(f'sampler: bin_flops is {bin_flops!r}; expected multiply-adds, more than 0')
        self.num_random, self.num_candidates = num_random, num_candidates
        self.bin_flops, self.num_samples, self.seed = bin_flops, num_samples, seed

    def __call__(self, space: SearchSpace, step: int, score: Score) -> dict[str, SubnetSpec]:
        """Named subnets in the order they are run, the teacher first; ``score`` is called once."""
        prior = flops_prior(space, self.bin_flops, self.num_samples, self.seed)
        rng = generator(self.seed, step)
        groups = [prior.candidates(rng, self.num_candidates) for _ in range(self.num_random)]
        scores, picked = iter(score([subnet for group in groups for subnet in group])), {}
        for i, group in enumerate(groups):
            of_group = [next(scores) for _ in group]
            picked[f'{self.name}{i + 1}'] = group[of_group.index(self.pick(of_group))]
        return {'largest': space.largest, **picked, 'smallest': space.smallest}


@TASK_UTILS.register_module()
class BestUpSampler(AttentiveSampler):
    """AttentiveNAS's BestUp: trains the candidate with the highest score. Arguments: :class:`AttentiveSampler`'s."""

    name, pick = 'best', staticmethod(max)


@TASK_UTILS.register_module()
class WorstUpSampler(AttentiveSampler):
    """AttentiveNAS's WorstUp: trains the candidate with the lowest score. Arguments: :class:`AttentiveSampler`'s."""

    name, pick = 'worst', staticmethod(min)


def random_subnets(space: SearchSpace, count: int, seed: int, step: int) -> dict[str, SubnetSpec]:
    """Subnets drawn uniformly, a function of seed and step, as ``random1`` ..."""
    rng = Random(f'{seed}/{step}')
    return {f'random{i + 1}': space.sample(rng) for i in range(count)}


def check_at_least(least: int, **numbers: int) -> None:
    """Refuse numbers that are smaller."""
    for name, number in numbers.items():
        if number < least:
            raise InputError(f'sampler: {name} is {number!r}; expected {least} or more')
