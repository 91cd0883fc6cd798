"""Evolution: ask for candidates, tell their scores. Knows nothing of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from random import Random

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search.constraints import Constraints
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec

TRIES_PER_CANDIDATE = 50
# So many tries in a row without a new subnet: what is feasible is known.
MISSES = 500
# In a space of at most so many subnets, what random tries miss is found by going through all.
ENUMERABLE = 20_000


@TASK_UTILS.register_module()
class Evolution:
    """Evolution search (arXiv:1802.01548) among feasible subnets only.

    The first generation grows the smallest subnet of every feasible resolution up to the constraints. Later ones mutate
    and cross the best so far; a child outside the constraints is walked back into them. No subnet is asked for twice.
    What is asked is a function of the seed and of what was told: replaying the scores replays the search.

    Args:
        search_space: The search space.
        constraints: Which subnets are feasible.
        population: Candidates per generation.
        parents: How many of the best so far have children.
        mutation_probability: Of each gene of a mutated child.
        crossover_share: Share of children that are crossed from two parents rather than mutated from one.
        seed: Seed of every draw.

    Raises:
        InputError: A number is out of its range.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        constraints: Constraints,
        population: int,
        parents: int,
        mutation_probability: float = 0.1,
        crossover_share: float = 0.5,
        seed: int = 0,
    ) -> None:
        for name, value in (('population', population), ('parents', parents)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f'evolution: {name} is {value!r}; expected an integer of 1 or more')
        for name, value in (('mutation_probability', mutation_probability), ('crossover_share', crossover_share)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InputError(f'evolution: {name} is {value!r}; expected 0 to 1')
        self.space, self.constraints = search_space, constraints
        self.population, self.parents = population, parents
        self.mutation_probability, self.crossover_share = mutation_probability, crossover_share
        self.seed = seed
        self.generation = 0
        self.scores: dict[SubnetSpec, float] = {}

    def ask(self) -> list[SubnetSpec]:
        """Feasible candidates that were not told yet: ``population`` of them, fewer where the space runs out.

        Raises:
            InputError: Not one feasible subnet was found (a narrow or contradictory combination of constraints).
        """
        rng = Random(f'{self.seed}/{self.generation}')
        child = self._child_of(self.best(self.parents)) if self.scores else self._founder()
        found: dict[SubnetSpec, None] = {}
        misses = 0
        for attempt in range(TRIES_PER_CANDIDATE * self.population):
            # Late in a small space children repeat what is known: random subnets find what is left.
            subnet = child(rng) if attempt % 4 else self.constraints.repair(self.space.sample(rng), rng)
            if subnet is None or subnet in self.scores or subnet in found:
                misses += 1
            else:
                misses, found[subnet] = 0, None
            if len(found) == self.population or misses == MISSES:
                break
        if len(found) < self.population and self.space.size <= ENUMERABLE:
            left = (s for s in self.space.enumerate() if s not in self.scores and s not in found)
            found |= dict.fromkeys(islice(filter(self.constraints.feasible, left), self.population - len(found)))
        if not found and not self.scores:
            raise InputError(
                f'constraints: no subnet within {self.constraints.ranges} was found in '
                f'{TRIES_PER_CANDIDATE * self.population} tries; widen the ranges. The space reaches '
                f'{self.constraints.cost(self.space.smallest)} to {self.constraints.cost(self.space.largest)}'
            )
        return list(found)

    def tell(self, scores: Mapping[SubnetSpec, float]) -> None:
        """Report the scores (higher is better) of a generation."""
        self.scores.update(scores)
        self.generation += 1

    def best(self, count: int = 1) -> list[SubnetSpec]:
        """The best subnets told so far, best first; of equal ones the cheaper first; NaN is worst."""

        def rank(subnet: SubnetSpec) -> tuple:
            score = self.scores[subnet]
            return (
                math.inf if math.isnan(score) else -score,
                self.constraints.cost(subnet).flops,
                self.space.values(subnet),
            )

        return sorted(self.scores, key=rank)[:count]

    def _founder(self) -> Callable[[Random], SubnetSpec | None]:
        seeds = [replace(self.space.smallest, resolution=side) for side in self.space.resolution]
        feasible = [subnet for subnet in seeds if self.constraints.feasible(subnet)]

        def grow(rng: Random) -> SubnetSpec | None:
            if feasible:
                return self.constraints.grow(rng.choice(feasible), rng)
            return self.constraints.repair(self.space.sample(rng), rng)

        return grow

    def _child_of(self, parents: list[SubnetSpec]) -> Callable[[Random], SubnetSpec | None]:
        def child(rng: Random) -> SubnetSpec | None:
            if len(parents) > 1 and rng.random() < self.crossover_share:
                subnet = self.space.crossover(*rng.sample(parents, 2), rng)
            else:
                subnet = self.space.mutate(rng.choice(parents), rng, self.mutation_probability)
            return self.constraints.repair(subnet, rng)

        return child
