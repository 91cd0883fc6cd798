"""CostTable: exact FLOPs and params of many subnets at once.

A network's cost is a sum over stem, stages and head, and each of these depends on few genes: a table of all their
choices is small. Its entries come from the same layers and the same count as :func:`estimate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from itertools import product
from math import prod

import numpy as np

from mmrazor_bignas.search_space.estimator import Cost, classifier_cost, convs_cost
from mmrazor_bignas.search_space.net_spec import head_convs, stage_blocks, stem_conv
from mmrazor_bignas.search_space.space import Gene, SearchSpace
from mmrazor_bignas.search_space.subnet import SubnetSpec

AT_ONCE = 2**14  # subnets whose intermediate numbers fit a processor's cache


class CostTable:
    """The cost of any subnet of a space, by looking up its parts.

    Args:
        space: The search space.
        num_classes: Outputs of the classifier.
    """

    def __init__(self, space: SearchSpace, num_classes: int) -> None:
        self.space = space
        self._place_of = [{value: i for i, value in enumerate(gene.choices)} for gene in space.genes]
        self._lookups = [np.zeros(gene.choices[-1] + 1, np.intp) for gene in space.genes]
        for lookup, gene in zip(self._lookups, space.genes, strict=True):
            lookup[list(gene.choices)] = range(len(gene.choices))
        # Of each part: which genes it depends on, their strides in its table, and the table, (entries, 2).
        self._parts: list[tuple[list[int], list[int], np.ndarray]] = []
        for genes, costs in _parts(space, num_classes):
            sizes = [len(gene.choices) for gene in genes]
            strides = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
            table = np.array([astuple(cost) for cost in costs], dtype=np.int64)
            self._parts.append(([space.genes.index(gene) for gene in genes], strides, table))
        self._rows = [table.tolist() for _, _, table in self._parts]  # faster to look up one by one

    def __call__(self, subnet: SubnetSpec) -> Cost:
        """The cost of one subnet of the space."""
        places = [place[value] for place, value in zip(self._place_of, self.space.values(subnet), strict=True)]
        flops = params = 0
        for (genes, strides, _), rows in zip(self._parts, self._rows, strict=True):
            row = rows[sum(places[i] * stride for i, stride in zip(genes, strides, strict=True))]
            flops += row[0]
            params += row[1]
        return Cost(flops, params)

    def many(self, values: np.ndarray) -> np.ndarray:
        """The costs of many subnets.

        Args:
            values: (N, genes) integers, a row as :meth:`SearchSpace.values` gives it; each one of its gene's choices.

        Returns:
            (N, 2) int64: FLOPs and params.
        """
        values = np.asarray(values)
        total = np.zeros((len(values), 2), np.int64)
        for start in range(0, len(values), AT_ONCE):
            block = slice(start, start + AT_ONCE)
            places = [lookup[column] for lookup, column in zip(self._lookups, values[block].T, strict=True)]
            for genes, strides, table in self._parts:
                total[block] += table[sum(places[i] * stride for i, stride in zip(genes, strides, strict=True))]
        return total


def _parts(space: SearchSpace, num_classes: int) -> Iterator[tuple[list[Gene], list[Cost]]]:
    """Genes and costs of every part, in the order of the product of the genes' choices."""
    gene = {(gene.row, gene.index): gene for gene in space.genes}
    sides = {side: stem_conv(space.stem[0]).out_side(side) for side in space.resolution}
    yield (
        [gene['resolution', 0], gene['width', 0]],
        [convs_cost([(stem_conv(w), sides[side], True)]) for side, w in product(space.resolution, space.stem)],
    )
    in_widths = space.stem
    for i, stage in enumerate(space.stages):
        genes = [gene['resolution', 0], gene['width', i], gene['width', i + 1]]
        genes += [gene[row, i] for row in ('depth', 'kernel_size', 'expand_ratio')]
        costs = []
        for side, *choice in product(*(gene.choices for gene in genes)):
            side = sides[side]
            cost = Cost(0, 0)
            for block in stage_blocks(stage, *choice):
                cost += convs_cost(block.convs(side))
                side = block.out_side(side)
            costs.append(cost)
        yield genes, costs
        block = stage_blocks(stage, in_widths[0], stage.width[0], 1, stage.kernel_size[0], stage.expand_ratio[0])[0]
        sides = {side: block.out_side(out) for side, out in sides.items()}  # the same for every block of a stage
        in_widths = stage.width
    costs = []
    for side, in_width, width in product(space.resolution, in_widths, space.head):
        expand, mix = head_convs(in_width, width)
        costs.append(convs_cost([(expand, sides[side], True), (mix, 1, False)]) + classifier_cost(width, num_classes))
    n = len(space.stages)
    yield [gene['resolution', 0], gene['width', n], gene['width', n + 1]], costs
