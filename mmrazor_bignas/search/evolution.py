"""Evolution search."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search.constraints import Constraints
from mmrazor_bignas.search.strategy import Proposal, Strategy
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec


@TASK_UTILS.register_module()
class Evolution(Strategy):
    """Evolution search (arXiv:1802.01548) among feasible subnets only.

    The first generation grows the smallest subnet of every feasible resolution up to the constraints. Later ones, those
    that know as many scores as are parents, mutate and cross the best so far; a child outside the constraints is walked
    back into them. Every fourth try is a random subnet: late in a small space children repeat what is known.

    Args:
        search_space: The search space.
        constraints: Which subnets are feasible.
        population: Candidates per generation.
        parents: How many of the best so far have children.
        mutation_probability: Of each gene of a mutated child.
        crossover_share: Share of children that are crossed from two parents rather than mutated from one.
        seed: Seed of every draw.
        screen: Arguments of :class:`~mmrazor_bignas.search.Screening` of candidates by predicted score; None: none.
        parents_of_resolution: How many parents are the best of every resolution, so that none that needs other genes to
            be good at it dies out early.

    Raises:
        InputError: A number is out of its range, or scikit-learn is missing to screen.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        constraints: Constraints,
        population: int = 100,
        parents: int = 25,
        mutation_probability: float = 0.1,
        crossover_share: float = 0.5,
        seed: int = 0,
        screen: dict | None = None,
        parents_of_resolution: int = 0,
    ) -> None:
        super().__init__(search_space, constraints, population, seed, screen)
        self._check_count('parents', parents)
        self._check_share('mutation_probability', mutation_probability)
        self._check_share('crossover_share', crossover_share)
        most = (parents - 1) // len(search_space.resolution)
        if type(parents_of_resolution) is not int or not 0 <= parents_of_resolution <= most:
            raise InputError(
                f'Evolution: parents_of_resolution is {parents_of_resolution!r}; expected 0 to {most}, so that of '
                f'{parents} parents one at least is the best of all'
            )
        self.parents, self.parents_of_resolution = parents, parents_of_resolution
        self.mutation_probability, self.crossover_share = mutation_probability, crossover_share

    def _proposal(self) -> Proposal:
        seeds = [replace(self.space.smallest, resolution=side) for side in self.space.resolution]
        feasible = [subnet for subnet in seeds if self.constraints.feasible(subnet)]
        enough = len(self.scores) >= min(self.parents, self.population)
        parents = self._parents() if enough else []

        def propose(rng: Random, attempt: int) -> SubnetSpec | None:
            if attempt % 4 == 0 or not (parents or feasible):
                return self._anywhere(rng)
            if not parents:
                return self.constraints.grow(rng.choice(feasible), rng)
            if len(parents) > 1 and rng.random() < self.crossover_share:
                child = self.space.crossover(*rng.sample(parents, 2), rng)
            else:
                child = self.space.mutate(rng.choice(parents), rng, self.mutation_probability)
            return self.constraints.repair(child, rng)

        return propose

    def _parents(self) -> list[SubnetSpec]:
        if not self.parents_of_resolution:
            return self.best(self.parents)
        ranked = self.best(len(self.scores))
        parents = ranked[: self.parents - self.parents_of_resolution * len(self.space.resolution)]
        others = ranked[len(parents) :]
        for side in self.space.resolution:
            parents += [subnet for subnet in others if subnet.resolution == side][: self.parents_of_resolution]
        return parents
