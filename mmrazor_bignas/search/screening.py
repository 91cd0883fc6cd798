"""Screening: of many proposals, those whose predicted score is best are worth an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import cycle
from random import Random

import numpy as np

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search.numbers import check_count, check_share
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec

TREES = 50
RIDGE = 0.1


@TASK_UTILS.register_module()
class Screening:
    """Choose among proposals by predictors fitted on the scores so far, as NSGANetV2 does (arXiv:2007.10396).

    Some places of a generation go to proposals whatever is predicted, the others by turns to the best of a ridge
    regression and to the best of extremely randomised trees: one extrapolates, the other knows of interactions, and
    where both err the unscreened go on.

    Args:
        search_space: The search space.
        factor: How many proposals there are for every place.
        unscreened: Share of the places that go to the first proposals unscreened.

    Raises:
        InputError: A number is out of its range, or scikit-learn is missing.
    """

    def __init__(self, search_space: SearchSpace, factor: int = 5, unscreened: float = 0.5) -> None:
        if find_spec('sklearn') is None:
            raise InputError('screening needs scikit-learn: pip install mmrazor_bignas[search]')
        check_count('Screening', 'factor', factor)
        check_share('Screening', 'unscreened', unscreened)
        self.space, self.factor, self.unscreened = search_space, factor, unscreened
        self._low = np.array([min(gene.choices) for gene in search_space.genes])
        self._span = np.maximum([max(gene.choices) for gene in search_space.genes] - self._low, 1)

    def choose(
        self, proposals: Sequence[SubnetSpec], scores: Mapping[SubnetSpec, float], count: int, rng: Random
    ) -> list[SubnetSpec]:
        """As many of the proposals; fewer where there are fewer.

        Args:
            proposals: Subnets without a score, each once.
            scores: What to fit: finite numbers, one at least.
            count: How many places there are.
            rng: Of the predictors.
        """
        if len(proposals) <= count:
            return list(proposals)
        chosen = dict.fromkeys(proposals[: round(self.unscreened * count)])
        for order in cycle([iter(np.argsort(-p, kind='stable')) for p in self._predict(proposals, scores, rng)]):
            if len(chosen) == count:
                return list(chosen)
            chosen[next(proposals[i] for i in order if proposals[i] not in chosen)] = None
        raise AssertionError('unreachable')

    def _predict(
        self, proposals: Sequence[SubnetSpec], scores: Mapping[SubnetSpec, float], rng: Random
    ) -> list[np.ndarray]:
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.linear_model import Ridge

        known = sorted(scores, key=self.space.values)  # told in whatever order
        rows, new = self._rows(known), self._rows(proposals)
        told = np.array([scores[subnet] for subnet in known])
        trees = ExtraTreesRegressor(TREES, random_state=rng.getrandbits(32))
        return [model.fit(rows, told).predict(new) for model in (Ridge(RIDGE), trees)]

    def _rows(self, subnets: Sequence[SubnetSpec]) -> np.ndarray:
        return (np.array([self.space.values(subnet) for subnet in subnets]) - self._low) / self._span
