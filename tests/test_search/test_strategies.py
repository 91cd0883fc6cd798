"""What all strategies have in common, and what sets each apart."""

import math
from collections import Counter

import pytest
from conftest import TINY_CLASSES
from searches import score, search

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search import NSGA2, CoarseToFine, Constraints, Evolution, RandomSearch
from mmrazor_bignas.search.coarse_to_fine import skeletons
from mmrazor_bignas.search_space import CostTable

STRATEGIES = [Evolution, NSGA2, RandomSearch, CoarseToFine]
BUDGET = 500_000


@pytest.fixture(scope='module')
def cost(tiny_space):
    return CostTable(tiny_space, TINY_CLASSES)


@pytest.fixture
def make(tiny_space, cost):
    """A strategy on the tiny space within these FLOPs."""

    def make(kind, flops=(None, BUDGET), **kwargs):
        return kind(tiny_space, Constraints(tiny_space, cost, {'flops': flops}), **{'population': 8, **kwargs})

    return make


@pytest.mark.parametrize('kind', STRATEGIES)
def test_each_is_registered(kind):
    assert TASK_UTILS.get(kind.__name__) is kind


@pytest.mark.parametrize('kind', STRATEGIES)
@pytest.mark.parametrize('flops', [(None, None), (None, BUDGET), (300_000, BUDGET), (1_000_000, None)])
def test_candidates_are_feasible_and_never_repeat(make, cost, kind, flops):
    asked = [subnet for generation in search(make(kind, flops), 6) for subnet in generation]
    assert len(asked) == len(set(asked)) >= 30
    assert all((flops[0] or 0) <= cost(subnet).flops <= (flops[1] or math.inf) for subnet in asked)


@pytest.mark.parametrize('kind', STRATEGIES)
def test_replayed_scores_replay_the_search(make, kind):
    asked = search(make(kind, seed=1), 5)
    assert search(make(kind, seed=1), 5) == asked
    resumed = make(kind, seed=1)
    for generation in asked[:3]:
        resumed.tell({subnet: score(subnet) for subnet in generation})
    assert resumed.ask() == asked[3]


@pytest.mark.parametrize('kind', STRATEGIES)
def test_all_of_a_small_space_is_found_and_then_it_ends(make, tiny_space, cost, kind):
    feasible = {subnet for subnet in tiny_space.enumerate() if cost(subnet).flops <= 300_000}
    strategy = make(kind, (None, 300_000), population=100)
    found = [subnet for generation in search(strategy, len(feasible) // 20 + 5) for subnet in generation]
    assert set(found) == feasible
    assert strategy.ask() == []
    assert strategy.best() == [max(feasible, key=score)]


@pytest.mark.parametrize('kind', STRATEGIES)
def test_the_best_of_a_space_of_block_choices_is_found(per_block_space, kind):
    cost = CostTable(per_block_space, TINY_CLASSES)
    budget = sorted(cost(subnet).flops for subnet in per_block_space.enumerate())[60]
    feasible = {subnet for subnet in per_block_space.enumerate() if cost(subnet).flops <= budget}
    constraints = Constraints(per_block_space, cost, {'flops': (None, budget)})
    strategy = kind(per_block_space, constraints, population=30)
    *asked, end = search(strategy, 4 if kind is not CoarseToFine else 5)  # its skeletons are a generation of their own
    found = [subnet for generation in asked for subnet in generation]
    assert len(found) == len(set(found))
    assert set(found) == feasible
    assert end == []
    assert score(strategy.best()[0]) == max(map(score, feasible))


@pytest.mark.parametrize('kind', STRATEGIES)
@pytest.mark.parametrize('population', [0, 2.0, True])
def test_bad_population(make, kind, population):
    with pytest.raises(InputError, match=f'{kind.__name__}: population is {population}'):
        make(kind, population=population)


def test_random_search_asks_uniformly(make, tiny_space):
    asked = [
        subnet for generation in search(make(RandomSearch, (None, None), population=100), 3) for subnet in generation
    ]
    for gene, choices in zip(tiny_space.genes, zip(*map(tiny_space.values, asked), strict=True), strict=True):
        counts = Counter(choices)
        assert set(counts) == set(gene.choices)
        assert all(abs(count - 300 / len(gene.choices)) < 60 for count in counts.values())


def test_skeletons_are_at_one_level_a_row(tiny_space):
    found = list(skeletons(tiny_space))
    assert len(found) == len(set(found)) == 3 * 2 * 2 * 2 * 2  # resolutions, widths, depths, kernels, ratios
    assert tiny_space.smallest in found
    assert tiny_space.largest in found
    for subnet in found:
        assert subnet in tiny_space
        for row in ('width', 'depth', 'kernel_size', 'expand_ratio'):
            genes = [gene for gene in tiny_space.genes if gene.row == row and len(gene.choices) > 1]
            ends = {getattr(subnet, row)[gene.index] == gene.choices[-1] for gene in genes}
            assert len(ends) == 1


def test_blocks_of_a_skeleton_choose_the_same(per_block_space):
    found = list(skeletons(per_block_space))
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2 * 2  # resolutions, widths, depths, kernels, ratios
    for subnet in found:
        assert subnet in per_block_space
        assert len({kernel for choice in subnet.kernel_size[:2] for kernel in choice} | {subnet.kernel_size[2]}) == 1
        assert len(set(subnet.expand_ratio[1])) == 1


def test_levels_of_uneven_rows(imagenet_space):
    found = list(skeletons(imagenet_space))
    assert len(found) == 4 * 4 * 6 * 2 * 3
    depths = {subnet.depth for subnet in found}
    assert {(1, 3, 3, 3, 3, 3, 1), (2, 5, 6, 6, 8, 8, 2)} <= depths
    assert len(depths) == 6


def test_the_fine_part_keeps_the_resolution_and_starts_from_the_best_skeleton(make, cost):
    strategy = make(CoarseToFine, mutation_probability=0.2)
    coarse = len(strategy.skeletons)
    while len(strategy.scores) < coarse:
        asked = strategy.ask()
        assert set(asked) <= set(strategy.skeletons)
        strategy.tell({subnet: score(subnet) for subnet in asked})
    assert len(strategy.scores) == coarse
    best = strategy.best()[0]
    fine = strategy.ask()
    near = [s for s in fine if s.resolution == best.resolution]
    assert len(near) >= len(fine) / 2
    strategy.tell({subnet: score(subnet) for subnet in fine})
    assert score(strategy.best()[0]) >= score(best)


def test_mutation_probability_is_checked(make):
    with pytest.raises(InputError, match='CoarseToFine: mutation_probability is 2; expected 0 to 1'):
        make(CoarseToFine, mutation_probability=2)
