"""CostTable: exact FLOPs and params of many subnets at once, and their latency where it was measured.

A network's cost is a sum over stem, stages and head, and each of these depends on few genes: a table of all their
choices is small. Its entries come from the same layers and the same count as :func:`estimate`.
"""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from mmrazor_bignas.search_space.estimator import Cost, layer_cost
from mmrazor_bignas.search_space.latency_table import LatencyTable
from mmrazor_bignas.search_space.layers import parts
from mmrazor_bignas.search_space.space import SearchSpace
from mmrazor_bignas.search_space.subnet import SubnetSpec

AT_ONCE = 2**14  # subnets whose intermediate numbers fit a processor's cache


class CostTable:
    """The cost of any subnet of a space, by looking up its parts.

    Args:
        space: The search space.
        num_classes: Outputs of the classifier.
        latency: What the layers were measured to take; None where nobody asks for latency.

    Raises:
        InputError: A layer was not measured: the latency table is of another space.
    """

    def __init__(self, space: SearchSpace, num_classes: int, latency: LatencyTable | None = None) -> None:
        self.space = space
        self._place_of = [{value: i for i, value in enumerate(gene.choices)} for gene in space.genes]
        self._lookups = [np.zeros(gene.choices[-1] + 1, np.intp) for gene in space.genes]
        for lookup, gene in zip(self._lookups, space.genes, strict=True):
            lookup[list(gene.choices)] = range(len(gene.choices))

        @cache
        def price(layer) -> Cost:
            cost = layer_cost(layer)
            return Cost(cost.flops, cost.params, latency.of(layer)) if latency else cost

        nothing = Cost(0, 0, 0.0 if latency else None)  # of a block that does not run
        # Of each part: which genes it depends on, their strides in its table, and the table, (entries, 2).
        self._parts: list[tuple[list[int], list[int], np.ndarray]] = []
        self._costs: list[list[Cost]] = []  # the same, faster to look up one by one
        for genes, choices in parts(space, num_classes):
            costs = [sum(map(price, layers), nothing) for layers in choices]
            sizes = [len(gene.choices) for gene in genes]
            strides = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
            table = np.array([(cost.flops, cost.params) for cost in costs], dtype=np.int64)
            self._parts.append(([space.genes.index(gene) for gene in genes], strides, table))
            self._costs.append(costs)

    def __call__(self, subnet: SubnetSpec) -> Cost:
        """The cost of one subnet of the space."""
        places = [place[value] for place, value in zip(self._place_of, self.space.values(subnet), strict=True)]
        flops, params, latency = 0, 0, 0.0
        for (genes, strides, _), costs in zip(self._parts, self._costs, strict=True):
            cost = costs[sum(places[i] * stride for i, stride in zip(genes, strides, strict=True))]
            flops += cost.flops
            params += cost.params
            latency += cost.latency or 0.0
        return Cost(flops, params, None if cost.latency is None else latency)

    def many(self, values: np.ndarray) -> np.ndarray:
        """FLOPs and params of many subnets.

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
