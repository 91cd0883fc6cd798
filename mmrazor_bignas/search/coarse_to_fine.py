"""BigNAS's own selection."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search.constraints import Constraints
from mmrazor_bignas.search.strategy import Proposal, Strategy
from mmrazor_bignas.search_space import ROWS, SearchSpace, SubnetSpec


@TASK_UTILS.register_module()
class CoarseToFine(Strategy):
    """Coarse-to-fine selection (BigNAS, arXiv:2003.11142, section 3.4).

    Coarse: a grid of skeletons, subnets whose stages all have the same level of width, of depth, of kernel size and of
    expand ratio, at every resolution. Fine: the values of stages (or blocks) of the best subnet so far are mutated, at
    first those of the best skeleton.

    Args:
        search_space: The search space.
        constraints: Which subnets are feasible.
        population: Candidates per generation.
        mutation_probability: Of each gene but the resolution, in the fine part.
        seed: Seed of every draw.
        screen: Arguments of :class:`~mmrazor_bignas.search.Screening` of candidates by predicted score; None: none.

    Raises:
        InputError: A number is out of its range, or scikit-learn is missing to screen.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        constraints: Constraints,
        population: int = 100,
        mutation_probability: float = 0.1,
        seed: int = 0,
        screen: dict | None = None,
    ) -> None:
        super().__init__(search_space, constraints, population, seed, screen)
        self._check_share('mutation_probability', mutation_probability)
        self.mutation_probability = mutation_probability
        self.skeletons = [subnet for subnet in skeletons(search_space) if constraints.feasible(subnet)]

    def ask(self) -> list[SubnetSpec]:
        """Skeletons as long as there are new ones, in generations of their own; then mutations of the best subnet."""
        coarse = [subnet for subnet in self.skeletons if subnet not in self.scores]
        return coarse[: self.population] or super().ask()

    def _proposal(self) -> Proposal:
        best = self.best()

        def propose(rng: Random, attempt: int) -> SubnetSpec | None:
            if not best or attempt % 4 == 0:  # late in a small space mutation repeats what is known
                return self._anywhere(rng)
            _, *values = self.space.values(self.space.mutate(best[0], rng, self.mutation_probability))
            return self.constraints.repair(self.space.subnet([best[0].resolution, *values]), rng)

        return propose


def skeletons(space: SearchSpace) -> Iterator[SubnetSpec]:
    """Every subnet whose genes of a row are all at the same level between their smallest and largest choice, once."""
    levels = [range(max(len(gene.choices) for gene in space.genes if gene.row == row)) for row in ROWS]
    found: dict[SubnetSpec, None] = {}
    for level in product(*levels):
        at = {row: (i, len(steps) - 1) for row, i, steps in zip(ROWS, level, levels, strict=True)}
        values = []
        for gene in space.genes:
            i, last = at[gene.row]
            values.append(gene.choices[round((len(gene.choices) - 1) * i / last) if last else 0])
        found[space.subnet(values)] = None
    yield from found
