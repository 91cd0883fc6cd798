"""What reports and plots of searches show: fronts, scores by generation, shares of the choices."""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import BEFORE, pareto_front
from mmrazor_bignas.search_space import ROWS, SubnetSpec

Records = Mapping[SubnetSpec, Mapping]
T = TypeVar('T')

# Of the runs, and from the first generation to the last; seen as well on white as on black.
RUN_COLOURS = ('#2a9d6f', '#dd7230', '#7b6fd6', '#c64f86', '#4a8fd0', '#9a8a2c')
GENERATION_COLOURS = ('#5b85d6', '#a860b0', '#e0662b')


@dataclass(frozen=True)
class CostAxis:
    """How a cost is shown: ``number / scale`` in ``unit``."""

    name: str
    unit: str
    scale: float
    label: str


COSTS = {
    'flops': CostAxis('FLOPs', 'M', 1e6, 'FLOPs (multiply-adds, millions)'),
    'params': CostAxis('params', 'M', 1e6, 'params (millions)'),
    'latency': CostAxis('latency', 'ms', 1, 'latency (ms)'),
}


@dataclass(frozen=True)
class GenerationScores:
    """The finite scores of a generation; NaN where it has none.

    Attributes:
        number: Of the generation, see :func:`generation_of`.
        best: The best score so far.
        median: Of this generation.
        low: Its first quartile.
        high: Its third quartile.
    """

    number: int
    best: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class GeneShares:
    """How often a gene's choices were taken.

    Attributes:
        row: The row of :data:`~mmrazor_bignas.search_space.ROWS`.
        place: ``'stem'``, a stage's number from 1, ``'head'``, or nothing of the resolution.
        block: A block's number from 1 where the blocks of a stage choose by themselves, else None.
        choices: The values that some candidate has, ascending.
        shares: (choices, generations), of all candidates of the generation, with or without that block.
    """

    row: str
    place: str
    block: int | None
    choices: tuple[int, ...]
    shares: np.ndarray

    @property
    def is_fixed(self) -> bool:
        """Whether all candidates have the same choice."""
        return len(self.choices) == 1 and self.shares.min() == 1


def number(record: Mapping, key: str) -> float:
    """A finite number of a record, NaN for everything else."""
    value = record.get(key)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return float(value) if usable else math.nan


def generation_of(record: Mapping) -> int:
    """The generation as the log counts it, from 1; 0 of what was taken over from an earlier search."""
    value = record.get('generation')
    return 1 + (value if isinstance(value, int) and value > BEFORE else BEFORE)


def generations_of(records: Records) -> list[int]:
    """The generations that some record is of, ascending."""
    return sorted({generation_of(record) for record in records.values()})


def scored(records: Records) -> dict[SubnetSpec, Mapping]:
    """The records with a finite score, best first, of equal ones the cheaper first."""
    found = {subnet: record for subnet, record in records.items() if not math.isnan(number(record, 'score'))}
    return dict(sorted(found.items(), key=lambda item: (-item[1]['score'], item[1].get('flops', math.inf))))


def failed(records: Records) -> dict[SubnetSpec, str]:
    """The candidates without a finite score, and why."""
    return {
        subnet: str(record.get('error', f'the score is {record.get("score")}'))
        for subnet, record in records.items()
        if math.isnan(number(record, 'score'))
    }


def check_objectives(objectives: Sequence[str]) -> None:
    """Refuse what is neither the score nor a cost.

    Raises:
        InputError: Says what would be accepted.
    """
    known = ['score', *COSTS]
    if not objectives or not all(name in known for name in objectives):
        raise InputError(f'objectives: {objectives!r}; expected some of {known}')


def front(records: Records, objectives: Sequence[str] = ('score', 'flops')) -> list[SubnetSpec]:
    """The Pareto front, by the last objective ascending; a record that lacks one of them is not on it."""
    return pareto_front(
        {
            subnet: [-number(record, key) if key == 'score' else number(record, key) for key in objectives]
            for subnet, record in records.items()
        }
    )


def shown_costs(histories: Iterable[Records], objectives: Sequence[str] = ()) -> list[str]:
    """The costs that at least half of the records have, those of the objectives first."""
    records = [record for records in histories for record in records.values()]
    found = [key for key in COSTS if 2 * sum(not math.isnan(number(r, key)) for r in records) >= len(records)]
    return sorted(found, key=lambda key: objectives.index(key) if key in objectives else len(objectives)) or ['flops']


def scores_by_generation(records: Records) -> list[GenerationScores]:
    """Best so far, median and quartiles of every generation."""
    scores = defaultdict(list)
    for record in scored(records).values():
        scores[generation_of(record)].append(record['score'])
    found = []
    best = -math.inf
    for generation in generations_of(records):
        of_it = scores[generation]
        best = max([best, *of_it])
        low, median, high = np.quantile(of_it, [0.25, 0.5, 0.75]).tolist() if of_it else [math.nan] * 3
        found.append(GenerationScores(generation, best if math.isfinite(best) else math.nan, median, low, high))
    return found


def gene_shares(records: Records) -> list[GeneShares]:
    """The shares of the choices of every gene, one column per generation of :func:`generations_of`."""
    columns = {generation: i for i, generation in enumerate(generations_of(records))}
    counts: dict[tuple[str, str, int | None], Counter] = defaultdict(Counter)
    sizes = np.zeros(len(columns))
    for subnet, record in records.items():
        column = columns[generation_of(record)]
        sizes[column] += 1
        for gene, value in _genes(subnet).items():
            counts[gene][value, column] += 1
    found = []
    for gene, taken in counts.items():
        choices = tuple(sorted({value for value, _ in taken}))
        table = [[taken[value, column] for column in range(len(columns))] for value in choices]
        found.append(GeneShares(*gene, choices, np.array(table) / sizes))
    return sorted(found, key=lambda gene: (ROWS.index(gene.row), _order(gene.place), gene.block or 0))


def short_name(name: str, most: int = 30) -> str:
    """The name of a run, cut to what a legend holds."""
    return name if len(name) <= most else f'{name[: most - 3]}...'


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _order(place: str) -> float:
    return int(place) if place.isdigit() else {'': 0, 'stem': 0, 'head': math.inf}[place]


def _genes(subnet: SubnetSpec) -> dict[tuple[str, str, int | None], int]:
    """Row, place and block of every gene, and its value."""
    stages = [str(i + 1) for i in range(max(len(subnet.width) - 2, *(len(getattr(subnet, row)) for row in ROWS[2:])))]
    genes = {('resolution', '', None): subnet.resolution}
    for row in ROWS[1:]:
        places = ['stem', *stages, 'head'] if row == 'width' else stages
        for place, value in zip(places, getattr(subnet, row), strict=False):
            of_blocks = enumerate(value, 1) if isinstance(value, tuple) else [(None, value)]
            genes |= {(row, place, block): value for block, value in of_blocks}
    return genes
