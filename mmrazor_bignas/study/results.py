"""What the records of a study say: accuracies, differences and rankings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from mmrazor_bignas.study.collecting import SCORE
from mmrazor_bignas.study.plan import Study, run_name
from mmrazor_bignas.study.statistics import difference, kendall_tau, mean_and_error, tau_interval


class Results:
    """Accuracies in per cent out of the records of a study.

    Args:
        study: The study.
        records: By the name of the run.
    """

    def __init__(self, study: Study, records: Mapping[str, dict]) -> None:
        self.study, self.records = study, records

    def alone(self, of: str) -> list[float]:
        """Of a subnet or baseline trained alone, one for each seed that is done."""
        return [result[SCORE] for result in self._results(of)]

    def shared(self, recipe: str, subnet: str, kind: str = 'shared') -> list[float]:
        """Of a subnet with the shared weights of a recipe's supernets, one for each seed that is done."""
        return [result[kind][subnet][SCORE] for result in self._results(recipe)]

    def running(self, of: str) -> list[float]:
        """Of a subnet or baseline trained alone, with the running statistics of its batch normalisation."""
        return [result.get('with_running_statistics', result[SCORE]) for result in self._results(of)]

    def means(self, recipe: str, kind: str = 'shared') -> list[float]:
        """Of a recipe, over the subnets that no search chose: one for each seed that is done."""
        columns = [self.shared(recipe, name, kind) for name in self.study.fixed_subnets]
        return [sum(column) / len(column) for column in zip(*columns, strict=True)]

    def cost(self, of: str) -> tuple[int, int]:
        """FLOPs and params of a subnet or baseline that was trained alone."""
        result = self._results(of)[0]
        return result['flops'], result['params']

    def compared(self) -> list[str]:
        """Subnets that have both accuracies, by FLOPs."""
        names = [name for name in self.study.subnets if self.alone(name) and self.shared(self.study.recipe, name)]
        return sorted(names, key=lambda name: self.cost(name)[0])

    def gaps(self) -> dict[str, tuple[float, float]]:
        """Accuracy with the recipe's shared weights less accuracy alone, and its standard error, by subnet."""
        return {name: difference(self.shared(self.study.recipe, name), self.alone(name)) for name in self.compared()}

    def tau(self, names: Sequence[str]) -> tuple[float, float, float]:
        """Kendall's tau of the two rankings of mean accuracies of subnets, and the ends of its interval."""
        recipe = self.study.recipe
        shared = [mean_and_error(self.shared(recipe, name))[0] for name in names]
        alone = [mean_and_error(self.alone(name))[0] for name in names]
        return tau_interval(shared, alone)

    def by_seed(self) -> tuple[list[list[float]], list[list[float]]]:
        """Accuracies with shared weights and alone: a list of those of all compared subnets for each seed.

        Seeds of which a run of these is not done are left out.
        """
        names, recipe, shared, alone = self.compared(), self.study.recipe, [], []
        for seed in self.study.all_seeds:
            runs = [run_name(of, seed) for of in (recipe, *names)]
            if all(run in self.records for run in runs):
                supernet, *subnets = (self.records[run]['results'] for run in runs)
                shared.append([supernet['shared'][name][SCORE] for name in names])
                alone.append([subnet[SCORE] for subnet in subnets])
        return shared, alone

    def _results(self, of: str) -> list[dict]:
        names = [run_name(of, seed) for seed in self.study.all_seeds]
        return [self.records[name]['results'] for name in names if name in self.records]


def agreement(rankings: Sequence[Sequence[float]]) -> float:
    """Kendall's tau of two rankings, mean over pairs; nan if there are no two."""
    taus = [kendall_tau(*both) for both in combinations(rankings, 2)]
    return sum(taus) / len(taus) if taus else math.nan
