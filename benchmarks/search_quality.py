"""Best score that searches find within a budget of FLOPs, an accuracy predictor standing for the trained supernet.

python benchmarks/search_quality.py --predictor FILE [--budgets 203.39 ...] [--seeds 10] [--evaluations 2000]
    [--strategy Evolution] [--screen] [--alone] [--json]

FILE is the random forest that AttentiveNAS fitted on its supernet's subnets, as a .npz of flat trees: tree_offset,
children_left, children_right, feature, threshold, value_table, value_index. It is no part of this project. All searches
get the same number of evaluations; budgets are millions of multiply-adds.

ours: Evolution as shipped, or another strategy of this project; NSGA2 searches once for all budgets, within the largest
of them, and has at each the best that it met there: its evaluations are those of all budgets together. With --screen,
ours is Evolution that screens its candidates by predictors of its own; it needs scikit-learn. random: uniform subnets,
those beyond the budget thrown away. elitist: children of the top 10, mutated or crossed, those beyond the budget thrown
away, as in MMRazor's search.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from random import Random

import numpy as np
from mmengine.config import Config

from mmrazor_bignas.search import NSGA2, CoarseToFine, Constraints, Evolution, RandomSearch, Strategy
from mmrazor_bignas.search_space import CostTable, SearchSpace, SubnetSpec

ROOT = Path(__file__).resolve().parents[1]
SPACE = ROOT / 'configs/_base_/nas_backbones/attentive_mobilenet_v3_supernet.py'
BUDGETS = ['203.39', '279.24', '316.73', '356.52', '443.53', '490.52', '709.01']  # FLOPs of A0 to A6
STRATEGIES = {kind.__name__: kind for kind in (Evolution, CoarseToFine, RandomSearch, NSGA2)}
MOST_DRAWS = 5_000_000  # of a search that throws away what is beyond the budget
AT_ONCE = 500_000
SCREENED = {'population': 50, 'parents_of_resolution': 2, 'screen': {}}
GENERATION = 100
TOP = 10


class Forest:
    """A random forest: rows of numbers to the mean of its trees' leaves."""

    def __init__(self, path: str) -> None:
        with np.load(path) as file:
            offset = file['tree_offset'].astype(np.int64)
            base = np.repeat(offset[:-1], np.diff(offset))
            left, right = file['children_left'].astype(np.int64), file['children_right'].astype(np.int64)
            self.leaf = left < 0
            self.children = np.stack(
                [np.where(self.leaf, 0, left + base), np.where(self.leaf, 0, right + base)], axis=1
            )
            self.feature, self.threshold = file['feature'].astype(np.int64), file['threshold']
            self.value = file['value_table'][file['value_index']]
            self.roots = offset[:-1]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(N, features) -> (N,)."""
        rows = np.asarray(rows, np.float32)
        node = np.tile(self.roots, (len(rows), 1))
        while not (leaf := self.leaf[node]).all():
            feature = np.where(leaf, 0, self.feature[node])
            right = np.take_along_axis(rows, feature, axis=1) > self.threshold[node]
            node = np.where(leaf, node, self.children[node, right.astype(np.int64)])
        return self.value[node].mean(axis=1)


def ours(
    kind: Callable[..., Strategy], space: SearchSpace, cost: CostTable, budget: float, seed: int
) -> Iterator[list[SubnetSpec]]:
    """Candidates; is sent their scores."""
    strategy = kind(space, Constraints(space, cost, {'flops': (0, budget)}), seed=seed)
    while candidates := strategy.ask():
        scores = yield candidates
        strategy.tell(dict(zip(candidates, scores, strict=True)))


def random(space: SearchSpace, cost: CostTable, budget: float, seed: int) -> Iterator[list[SubnetSpec]]:
    """Candidates; is sent their scores."""
    rng = np.random.default_rng(seed)
    for _ in range(MOST_DRAWS // AT_ONCE):
        values = np.stack([rng.choice(gene.choices, AT_ONCE) for gene in space.genes], axis=1)
        feasible = values[cost.many(values)[:, 0] <= budget]
        yield [space.subnet(row) for row in feasible.tolist()]


def elitist(space: SearchSpace, cost: CostTable, budget: float, seed: int) -> Iterator[list[SubnetSpec]]:
    """Candidates; is sent their scores."""
    rng = Random(seed)
    draws = random(space, cost, budget, seed)
    first: list[SubnetSpec] = []
    for feasible in draws:
        first += feasible
        if len(first) >= GENERATION:
            break
    if not first:
        return
    candidates, known = first[:GENERATION], {}
    while candidates:
        known |= dict(zip(candidates, (yield candidates), strict=True))
        top = sorted(known, key=known.get, reverse=True)[:TOP]
        candidates = []
        for _ in range(GENERATION * 1000):
            if len(candidates) % 2 or len(top) < 2:
                child = space.mutate(rng.choice(top), rng, 0.1)
            else:
                child = space.crossover(*rng.sample(top, 2), rng)
            if cost(child).flops <= budget:
                candidates.append(child)
            if len(candidates) == GENERATION:
                break


def run(
    search: Callable, space: SearchSpace, cost: CostTable, predict: Forest, budget: float, seed: int, most: int
) -> list[tuple[int, float]]:
    """The FLOPs and scores of all that a search evaluates; of none where it never starts."""
    candidates = search(space, cost, budget, seed)
    evaluated, scores = [], None
    while len(evaluated) < most:
        try:
            asked = candidates.send(scores)
        except StopIteration:
            break
        asked = asked[: most - len(evaluated)]
        flops = [cost(subnet).flops for subnet in asked]
        assert all(count <= budget for count in flops)
        scores = predict([space.values(subnet) for subnet in asked]).tolist() if asked else []
        evaluated += zip(flops, scores, strict=True)
    return evaluated


def main() -> None:
    parser = argparse.ArgumentParser(description='Best predicted accuracy that searches find within a budget.')
    parser.add_argument('--predictor', required=True, help='the .npz of the random forest')
    parser.add_argument('--budgets', nargs='+', default=BUDGETS, help='millions of multiply-adds')
    parser.add_argument('--seeds', type=int, default=10, help='how many seeds, from 0')
    parser.add_argument('--evaluations', type=int, default=2000, help='at most, of each search')
    parser.add_argument('--strategy', choices=STRATEGIES, default='Evolution', help='ours')
    parser.add_argument('--screen', action='store_true', help='ours screens its candidates; Evolution only')
    parser.add_argument('--alone', action='store_true', help='ours without the two others, which take the most time')
    parser.add_argument('--json', action='store_true', help='print one JSON object as the last line: ours')
    args = parser.parse_args()
    if args.screen and args.strategy != 'Evolution':
        parser.error('--screen goes with Evolution only')
    space = SearchSpace.from_dict(Config.fromfile(SPACE).algorithm.architecture.backbone.search_space)
    cost, predict = CostTable(space, 1000), Forest(args.predictor)
    names = ('ours',) if args.alone else ('ours', 'rand', 'elit')
    line = '{:>10} ' + '{:>9} {:>9} {:>6} ' * len(names)
    print(line.format('M budget', *(f'{name} {what}' for name in names for what in ('mean', 'worst', 'n'))))
    kind = STRATEGIES[args.strategy]
    if args.screen:
        kind = partial(kind, **SCREENED)
    found, searches = {}, (partial(ours, kind), *(() if args.alone else (random, elitist)))

    @cache
    def evaluated(search: Callable, bound: float, seed: int) -> list[tuple[int, float]]:
        return run(search, space, cost, predict, bound, seed, args.evaluations)

    for name in args.budgets:
        budget = float(name) * 1e6
        cells = []
        for search in searches:
            once = search is searches[0] and kind is NSGA2
            bound = max(map(float, args.budgets)) * 1e6 if once else budget
            runs = [evaluated(search, bound, seed) for seed in range(args.seeds)]
            within = [[score for flops, score in pairs if flops <= budget] for pairs in runs]
            best = [max(scores) for scores in within if scores]
            most = max(map(len, runs))
            if search is searches[0]:
                found[name] = {'mean': float(np.mean(best)), 'worst': min(best), 'evaluations': most}
            cells += [f'{np.mean(best):.3f}', f'{min(best):.3f}', most] if best else ['-', '-', 0]
        print(line.format(name, *cells), flush=True)
    if args.json:
        print(json.dumps(found))


if __name__ == '__main__':
    main()
