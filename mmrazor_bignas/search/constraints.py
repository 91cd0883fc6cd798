"""Constraints: which costs a candidate may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from random import Random

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import Cost, SearchSpace, SubnetSpec, extreme_subnets

COST_NAMES = tuple(field.name for field in fields(Cost))


class Constraints:
    """Ranges of costs, checked against a search space when made.

    Args:
        space: The search space.
        cost: The cost of a subnet.
        ranges: ``name -> (low, high)``, inclusive, None for no bound; names are the fields of
            :class:`~mmrazor_bignas.search_space.Cost`, so FLOPs are multiply-adds, not millions of them.

    Raises:
        InputError: A name is unknown or has no estimator, a range is inverted or malformed, or no subnet of the space
            can meet it; says the smallest and largest cost of the space.
    """

    def __init__(
        self, space: SearchSpace, cost: Callable[[SubnetSpec], Cost], ranges: Mapping[str, Sequence[float | None]]
    ) -> None:
        self.space, self.cost = space, cost
        if not isinstance(ranges, Mapping):
            raise InputError(f'constraints: {ranges!r}; expected name -> (low, high), e.g. dict(flops=(0, 700e6))')
        self.ranges: dict[str, tuple[float, float]] = {}
        self._extremes: list[SubnetSpec] = []
        for name, bounds in ranges.items():
            check_cost_name('constraints', name, cost(space.smallest))
            low, high = _bounds(name, bounds)
            extremes = extremes_of(space, cost, name)
            least, most = (getattr(cost(subnet), name) for subnet in extremes)
            self._extremes += extremes
            if high < least or low > most:
                raise InputError(
                    f'constraints: no subnet has {name} in [{_number(low)}, {_number(high)}]; '
                    f'this search space reaches {_number(least)} to {_number(most)}'
                )
            self.ranges[name] = (low, high)

    def described(self) -> str:
        """Every range, and what the space reaches by itself."""
        texts = []
        for name, (low, high) in self.ranges.items():
            reached = ' to '.join(
                _number(getattr(self.cost(s), name)) for s in extremes_of(self.space, self.cost, name)
            )
            texts.append(f'{name} in [{_number(low)}, {_number(high)}] (of {reached})')
        return ', '.join(texts)

    def excess(self, subnet: SubnetSpec) -> int:
        """1 where some cost is above its range, else -1 where some is below, else 0: feasible."""
        cost = self.cost(subnet)
        values = [(getattr(cost, name), low, high) for name, (low, high) in self.ranges.items()]
        if any(value > high for value, _, high in values):
            return 1
        return -1 if any(value < low for value, low, _ in values) else 0

    def feasible(self, subnet: SubnetSpec) -> bool:
        """Whether every cost is in its range."""
        return self.excess(subnet) == 0

    def repair(self, subnet: SubnetSpec, rng: Random) -> SubnetSpec | None:
        """Walk to a feasible subnet: one random gene, one choice smaller (or larger), as long as it is needed.

        Returns:
            A feasible subnet; None where as many steps as the space has choices did not find one, and the cheapest and
            dearest subnets are not feasible either.
        """
        for _ in range(sum(len(gene.choices) for gene in self.space.genes)):
            excess = self.excess(subnet)
            if excess == 0:
                return subnet
            moves = [i for i in range(len(self.space.genes)) if self._step(subnet, i, -excess)]
            if not moves:
                break
            subnet = self._step(subnet, rng.choice(moves), -excess)
        return next((subnet for subnet in (subnet, *self._extremes) if self.feasible(subnet)), None)

    def grow(self, subnet: SubnetSpec, rng: Random) -> SubnetSpec:
        """Enlarge a feasible subnet, but its resolution, by random single steps until none is feasible."""
        growing = [i for i, gene in enumerate(self.space.genes) if gene.row != 'resolution']
        # A gene of a block beyond the depth waits until the block runs.
        while ready := [i for i in growing if self.space.genes[i].runs_in(subnet)]:
            i = rng.choice(ready)
            larger = self._step(subnet, i, +1)
            if larger is not None and self.feasible(larger):
                subnet = larger
            else:
                growing.remove(i)
        return subnet

    def _step(self, subnet: SubnetSpec, index: int, direction: int) -> SubnetSpec | None:
        """The subnet with one gene moved to its next larger (+1) or smaller (-1) choice.

        None at the end of its row, and where it would change nothing: the gene is of a block that does not run.
        """
        gene = self.space.genes[index]
        if not gene.runs_in(subnet):
            return None
        values, choices = self.space.values(subnet), gene.choices
        place = choices.index(values[index]) + direction
        if not 0 <= place < len(choices):
            return None
        values[index] = choices[place]
        return self.space.subnet(values)


def check_cost_name(what: str, name: str, cost: Cost, others: Sequence[str] = ()) -> None:
    """See that a cost of this name is known of subnets.

    Args:
        what: Who asks, for the message.
        name: The name.
        cost: The cost of any subnet.
        others: Further names that the message is to offer.

    Raises:
        InputError: The name is unknown, or no estimator gives it.
    """
    if name not in COST_NAMES:
        raise InputError(f'{what}: {name!r} is unknown; expected some of {[*others, *COST_NAMES]}')
    if getattr(cost, name) is None:
        raise InputError(
            f'{what}: {name} has no estimator; name a table that bignas latency made: val_cfg.latency_table=FILE'
        )


@lru_cache(maxsize=8)
def extremes_of(space: SearchSpace, cost: Callable[[SubnetSpec], Cost], name: str) -> tuple[SubnetSpec, SubnetSpec]:
    """The cheapest and the dearest subnet by a cost's name; many ask for the same."""
    return extreme_subnets(space, lambda subnet: getattr(cost(subnet), name))


def _number(value: float) -> str:
    return f'{value:,.0f}' if value >= 1000 or value == round(value) else f'{value:.4g}'


def _bounds(name: str, bounds: Sequence[float | None]) -> tuple[float, float]:
    if not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
        raise InputError(f'constraints: {name} is {bounds!r}; expected (low, high), None for no bound')
    if any(isinstance(bound, bool) or not isinstance(bound, (int, float, type(None))) for bound in bounds):
        raise InputError(f'constraints: {name} is {bounds!r}; expected numbers or None')
    low = 0.0 if bounds[0] is None else bounds[0]
    high = float('inf') if bounds[1] is None else bounds[1]
    if not low <= high:
        raise InputError(f'constraints: {name} is ({low}, {high}): the lower bound is above the upper one')
    return low, high
