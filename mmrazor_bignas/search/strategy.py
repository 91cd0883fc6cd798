"""Strategy: ask for candidates, tell their scores. Knows nothing of networks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import islice
from random import Random

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search.constraints import Constraints
from mmrazor_bignas.search.numbers import check_count, check_share
from mmrazor_bignas.search.screening import Screening
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec

TRIES_PER_CANDIDATE = 50
# So many tries in a row without a new subnet: what is feasible is known.
MISSES = 500
# In a space of at most so many subnets, what tries miss is found by going through all.
ENUMERABLE = 20_000

# From a generator and the number of tries so far in this generation to a feasible subnet, or None.
Proposal = Callable[[Random, int], SubnetSpec | None]


class Strategy(ABC):
    """What is asked is a function of the seed and of what was told: replaying the scores replays the search.

    Only feasible subnets are asked for, and none twice.

    Args:
        search_space: The search space.
        constraints: Which subnets are feasible.
        population: Candidates per generation.
        seed: Seed of every draw.
        screen: Arguments of :class:`~mmrazor_bignas.search.Screening` of candidates by predicted score; None: none.

    Attributes:
        objectives: What its Pareto set is over: the score, as high as can be, and costs, as low as can be.
        scores: What was told.
        generation: How often.
        tried: Proposals so far, feasible or not, new or not.
        feasible: How many of them were feasible.

    Raises:
        InputError: A number is out of its range, or scikit-learn is missing to screen.
    """

    objectives: tuple[str, ...] = ('score', 'flops')

    def __init__(
        self,
        search_space: SearchSpace,
        constraints: Constraints,
        population: int = 100,
        seed: int = 0,
        screen: dict | None = None,
    ) -> None:
        self._check_count('population', population)
        self.space, self.constraints = search_space, constraints
        self.population, self.seed = population, seed
        self.generation = self.tried = self.feasible = 0
        self.scores: dict[SubnetSpec, float] = {}
        self.screening: Screening | None = None
        if screen is not None:
            if not isinstance(screen, Mapping):
                raise InputError(f'{type(self).__name__}: screen is {screen!r}; expected a dict or None')
            kind = {'type': 'mmrazor_bignas.Screening', **screen, 'search_space': search_space}
            self.screening = TASK_UTILS.build(kind)

    @abstractmethod
    def _proposal(self) -> Proposal:
        """Where this generation's candidates come from."""

    def ask(self) -> list[SubnetSpec]:
        """Feasible candidates that were not told yet: ``population`` of them, fewer where the space runs out.

        Raises:
            InputError: Not one feasible subnet was found (a narrow or contradictory combination of constraints).
        """
        scores = {subnet: score for subnet, score in self.scores.items() if math.isfinite(score)}
        # Too few to fit: the first generation is never screened.
        if self.screening is None or len(scores) < self.population:
            return self._candidates(self.population)
        proposals = self._candidates(self.screening.factor * self.population)
        rng = Random(f'{self.seed}/{self.generation}/screen')
        return self.screening.choose(proposals, scores, self.population, rng)

    def _candidates(self, count: int) -> list[SubnetSpec]:
        rng = Random(f'{self.seed}/{self.generation}')
        propose = self._proposal()
        found: dict[SubnetSpec, None] = {}
        misses = 0
        for attempt in range(TRIES_PER_CANDIDATE * count):
            subnet = propose(rng, attempt)
            self.tried += 1
            self.feasible += subnet is not None
            if subnet is None or subnet in self.scores or subnet in found:
                misses += 1
            else:
                misses, found[subnet] = 0, None
            if len(found) == count or misses == MISSES:
                break
        if len(found) < count and self.space.size <= ENUMERABLE:
            left = (s for s in self.space.enumerate() if s not in self.scores and s not in found)
            found |= dict.fromkeys(islice(filter(self.constraints.feasible, left), count - len(found)))
        if not found and not self.scores:
            raise InputError(
                f'constraints: {attempt + 1} tries found no subnet that meets all ranges at once: '
                f'{self.constraints.described()}; widen one'
            )
        return list(found)

    def tell(self, scores: Mapping[SubnetSpec, float]) -> None:
        """Report the scores (higher is better) of a generation."""
        self.scores.update(scores)
        self.generation += 1

    def best(self, count: int = 1) -> list[SubnetSpec]:
        """The best subnets told so far, best first, of equal ones the cheaper; what is no finite number is worst."""

        def rank(subnet: SubnetSpec) -> tuple:
            score = self.scores[subnet]
            return (
                -score if math.isfinite(score) else math.inf,
                self.constraints.cost(subnet).flops,
                self.space.values(subnet),
            )

        return sorted(self.scores, key=rank)[:count]

    def _anywhere(self, rng: Random) -> SubnetSpec | None:
        """A random subnet, walked into the constraints."""
        return self.constraints.repair(self.space.sample(rng), rng)

    def _check_count(self, name: str, value: int) -> None:
        check_count(type(self).__name__, name, value)

    def _check_share(self, name: str, value: float) -> None:
        check_share(type(self).__name__, name, value)
