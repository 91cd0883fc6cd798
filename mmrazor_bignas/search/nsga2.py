"""NSGA-II: one search for the best score at every cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from operator import itemgetter
from random import Random

import numpy as np

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search.constraints import COST_NAMES, Constraints, check_cost_name, extremes_of
from mmrazor_bignas.search.strategy import Proposal, Strategy
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec


@TASK_UTILS.register_module()
class NSGA2(Strategy):
    """NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation 6(2), 2002) among feasible subnets only.

    The score is maximised, costs are minimised. The first generation holds the cheapest subnets, and the smallest of
    every resolution grown up to costs spread over what the constraints allow. Later ones mutate and cross parents that
    won a binary tournament by rank of non-domination, then by crowding distance; a child outside the constraints is
    walked back into them. Parents are the survivors by the same two of all subnets told, not only of the last two
    generations: an evaluation is dear, to rank it again is not. Every 20th try is a random subnet, since late in a
    small space children repeat what is known, and every 20th one is grown as at first.

    Args:
        search_space: The search space.
        constraints: Which subnets are feasible.
        population: Candidates per generation.
        objectives: ``'score'`` and one or more costs.
        parents: How many survive to have children.
        mutation_probability: Of each gene of a mutated child.
        crossover_share: Share of children that are crossed from two parents rather than mutated from one.
        seed: Seed of every draw.

    Raises:
        InputError: A number is out of its range, the objectives are not as above, or pymoo is missing.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        constraints: Constraints,
        population: int = 100,
        objectives: Sequence[str] = ('score', 'flops'),
        parents: int = 50,
        mutation_probability: float = 0.05,
        crossover_share: float = 0.5,
        seed: int = 0,
    ) -> None:
        if find_spec('pymoo') is None:
            raise InputError('NSGA2 needs pymoo: pip install mmrazor_bignas[search]')
        super().__init__(search_space, constraints, population, seed)
        self._check_count('parents', parents)
        self._check_share('mutation_probability', mutation_probability)
        self._check_share('crossover_share', crossover_share)
        self._check_objectives(objectives)
        self.objectives = tuple(objectives)
        self.parents = parents
        self.mutation_probability, self.crossover_share = mutation_probability, crossover_share
        self._costs = [name for name in self.objectives if name != 'score']
        self._cheapest = [extremes_of(search_space, constraints.cost, name)[0] for name in self._costs]

    def _proposal(self) -> Proposal:
        survivors = self._survivors()
        parents = list(survivors)

        def parent(rng: Random) -> SubnetSpec:
            return min(rng.choices(parents, k=2), key=survivors.get)

        def propose(rng: Random, attempt: int) -> SubnetSpec | None:
            if attempt < len(self._cheapest):
                return self.constraints.repair(self._cheapest[attempt], rng)
            if attempt % 20 == 0:
                return self._anywhere(rng)
            if not parents or attempt % 20 == 10:
                return self._grown(rng)
            if rng.random() < self.crossover_share:
                child = self.space.crossover(parent(rng), parent(rng), rng)
            else:
                child = self.space.mutate(parent(rng), rng, self.mutation_probability)
            return self.constraints.repair(child, rng)

        return propose

    def _survivors(self) -> dict[SubnetSpec, tuple[int, float]]:
        """The parents, each with its rank and its crowding distance with a minus: less is better. None at first."""
        from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
        from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

        told = sorted((s for s, score in self.scores.items() if math.isfinite(score)), key=self.space.values)
        if len(told) < min(self.parents, self.population):
            return {}
        points = np.array(
            [[-self.scores[s] if name == 'score' else self._cost(s, name) for name in self.objectives] for s in told]
        )
        crowding = get_crowding_function('cd')
        strength = {
            told[i]: (rank, -distance)
            for rank, front in enumerate(NonDominatedSorting().do(points, n_stop_if_ranked=self.parents))
            for i, distance in zip(front, crowding.do(points[front]), strict=True)
        }
        return dict(sorted(strength.items(), key=itemgetter(1))[: self.parents])

    def _grown(self, rng: Random) -> SubnetSpec | None:
        """The smallest subnet of a random resolution, grown until a random cost."""
        start = self.constraints.repair(replace(self.space.smallest, resolution=rng.choice(self.space.resolution)), rng)
        if start is None:
            return None
        name = rng.choice(self._costs)
        most = self._cost(self.constraints.grow(start, rng), name)
        bound = rng.uniform(self._cost(start, name), most)
        low, _ = self.constraints.ranges.get(name, (None, None))
        ranges = {**self.constraints.ranges, name: (low, bound)}
        return Constraints(self.space, self.constraints.cost, ranges).grow(start, rng)

    def _cost(self, subnet: SubnetSpec, name: str) -> float:
        return getattr(self.constraints.cost(subnet), name)

    def _check_objectives(self, objectives: Sequence[str]) -> None:
        listed = objectives if isinstance(objectives, (list, tuple)) else ()
        if 'score' not in listed or len(listed) < 2 or any(listed.count(name) > 1 for name in listed):
            raise InputError(
                f"NSGA2: objectives is {objectives!r}; expected 'score' and some of {list(COST_NAMES)}, each once"
            )
        for name in objectives:
            if name != 'score':
                check_cost_name('NSGA2: objectives', name, self.constraints.cost(self.space.smallest), ['score'])
