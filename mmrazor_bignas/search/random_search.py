"""Random search, the baseline of the others."""

from __future__ import annotations

from random import Random

from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search.strategy import Proposal, Strategy
from mmrazor_bignas.search_space import SubnetSpec


@TASK_UTILS.register_module()
class RandomSearch(Strategy):
    """Uniformly random subnets; one outside the constraints is walked into them.

    Args:
        search_space: The search space.
        constraints: Which subnets are feasible.
        population: Candidates per generation.
        seed: Seed of every draw.
        screen: Arguments of :class:`~mmrazor_bignas.search.Screening` of candidates by predicted score; None: none.

    Raises:
        InputError: A number is out of its range, or scikit-learn is missing to screen.
    """

    def _proposal(self) -> Proposal:
        def propose(rng: Random, attempt: int) -> SubnetSpec | None:
            return self._anywhere(rng)

        return propose
