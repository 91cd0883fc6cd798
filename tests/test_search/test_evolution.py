"""Evolution: ask and tell."""

import math
import random
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from conftest import TINY_CLASSES
from searches import score, search

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import Constraints, Evolution
from mmrazor_bignas.search_space import Cost, estimate, resolve

BUDGET = 500_000


@pytest.fixture(scope='module')
def costs(tiny_space):
    """The cost of every subnet of the tiny space."""
    return {subnet: estimate(resolve(tiny_space, subnet), TINY_CLASSES) for subnet in tiny_space.enumerate()}


@pytest.fixture
def evolution(tiny_space, costs):
    """A search of the tiny space; ``flops`` and ``params`` are its constraints."""

    def make(flops=(None, BUDGET), params=(None, None), population=8, parents=4, **kwargs):
        constraints = Constraints(tiny_space, costs.__getitem__, {'flops': flops, 'params': params})
        return Evolution(tiny_space, constraints, population, parents, **kwargs)

    return make


@pytest.mark.parametrize('flops', [(None, None), (None, BUDGET), (300_000, BUDGET), (1_000_000, None)])
def test_candidates_are_feasible_and_never_repeat(evolution, costs, flops):
    asked = [subnet for generation in search(evolution(flops=flops), 5) for subnet in generation]
    assert len(asked) == len(set(asked)) == 40
    low, high = flops
    assert all((low or 0) <= costs[subnet].flops <= (high or math.inf) for subnet in asked)


def test_the_same_seed_asks_the_same(evolution):
    first, *_ = again = search(evolution(seed=1), 4)
    assert search(evolution(seed=1), 4) == again
    assert search(evolution(seed=2), 1) != [first]


def test_asking_twice_asks_the_same(evolution):
    strategy = evolution()
    assert strategy.ask() == strategy.ask()


def test_generations_draw_differently(evolution):
    strategy = evolution()
    first = strategy.ask()
    strategy.tell({})
    assert strategy.ask() != first


def test_replayed_scores_replay_the_search(evolution):
    asked = search(evolution(), 5)
    resumed = evolution()
    for generation in asked[:3]:
        resumed.tell({subnet: score(subnet) for subnet in generation})
    assert search(resumed, 2) == asked[3:]


def test_the_order_of_told_scores_does_not_matter(evolution):
    """Ranks gather their results in another order; equal scores must not be broken by it."""
    one, other = evolution(parents=2), evolution(parents=2)
    candidates = one.ask()
    one.tell(dict.fromkeys(candidates, 0.5))
    other.tell(dict.fromkeys(reversed(candidates), 0.5))
    assert one.ask() == other.ask()


def test_subnets_of_equal_score_and_cost_are_ordered(evolution, tiny_space, costs):
    a = replace(tiny_space.smallest, kernel_size=(3, 5))
    b = replace(tiny_space.smallest, kernel_size=(5, 3))
    assert costs[a].flops == costs[b].flops
    one, other = evolution(), evolution()
    one.tell({a: 0.5, b: 0.5})
    other.tell({b: 0.5, a: 0.5})
    assert one.best(2) == other.best(2) == [a, b]


def test_draws_leave_the_global_generator_alone(evolution):
    state = random.getstate()
    search(evolution(), 2)
    assert random.getstate() == state


# The first generation


def test_founders_are_grown_at_every_feasible_resolution(evolution, tiny_space, costs):
    founders = evolution(population=24).ask()
    smallest = (replace(tiny_space.smallest, resolution=side) for side in tiny_space.resolution)
    feasible = {subnet.resolution for subnet in smallest if costs[subnet].flops <= BUDGET}
    assert {subnet.resolution for subnet in founders} == feasible == {16, 24, 32}
    # Grown ones are near the budget, the random quarter anywhere below.
    assert sum(costs[subnet].flops > 0.85 * BUDGET for subnet in founders) >= 12


@pytest.mark.parametrize(('population', 'parents', 'known'), [(24, 4, 3), (24, 40, 23)])
def test_founders_are_grown_as_long_as_too_few_are_known_to_be_parents(
    evolution, tiny_space, costs, population, parents, known
):
    """An earlier search's history may know of few feasible subnets."""
    strategy = evolution(population=population, parents=parents)
    low = [s for s in tiny_space.enumerate() if costs[s].flops < 0.5 * BUDGET]
    strategy.tell({s: score(s) for s in low[:known]})
    assert sum(costs[s].flops > 0.85 * BUDGET for s in strategy.ask()) >= 12
    strategy.tell({s: score(s) for s in low[known : known + 1]})
    assert sum(costs[s].flops > 0.85 * BUDGET for s in strategy.ask()) < 12


def test_a_budget_that_starves_rejection_fills_the_population(imagenet_space):
    """A1's FLOPs: two of ten thousand random subnets meet them."""

    @cache
    def cost(subnet):
        return estimate(resolve(imagenet_space, subnet), 1000)

    budget = 279_238_816
    strategy = Evolution(imagenet_space, Constraints(imagenet_space, cost, {'flops': (None, budget)}), 16, 8)
    asked = [subnet for generation in search(strategy, 3) for subnet in generation]
    assert len(set(asked)) == 48
    assert all(subnet in imagenet_space and cost(subnet).flops <= budget for subnet in asked)
    assert {subnet.resolution for subnet in asked} >= {192, 224}


# Later generations


def test_the_search_finds_the_best_subnet_in_a_part_of_the_space(evolution, costs):
    feasible = [subnet for subnet, cost in costs.items() if cost.flops <= BUDGET]
    strategy = evolution()
    asked = search(strategy, 12)
    assert sum(map(len, asked)) < len(feasible) / 4
    assert strategy.best() == [max(feasible, key=score)]


def test_children_come_from_the_best(evolution, tiny_space):
    parent = tiny_space.sample(Random(3))

    def distance(subnet):
        return sum(a != b for a, b in zip(tiny_space.values(subnet), tiny_space.values(parent), strict=True))

    strategy = evolution(flops=(None, None), parents=1, population=24, mutation_probability=0.2)
    strategy.tell({**{tiny_space.sample(Random(i)): 0.0 for i in range(20)}, parent: 1.0})
    # Of as many random subnets, at most two are that near.
    assert sum(distance(subnet) <= 2 for subnet in strategy.ask()) >= 8


@pytest.mark.parametrize('crossover_share', [0, 1])
def test_a_child_outside_the_limits_is_walked_back_into_them(evolution, crossover_share):
    """The best are at the budget, so that many children are beyond it; none of them is thrown away."""
    strategy = evolution(population=16, mutation_probability=0.3, crossover_share=crossover_share)
    search(strategy, 4)
    assert strategy.tried > 4 * 16
    assert strategy.feasible == strategy.tried


def test_random_subnets_join_where_children_repeat(imagenet_space):
    constraints = Constraints(imagenet_space, lambda subnet: Cost(0, 0), {})
    strategy = Evolution(imagenet_space, constraints, population=8, parents=1, mutation_probability=0)
    strategy.tell({imagenet_space.smallest: 1.0})
    assert len(strategy.ask()) == 8


def test_crossed_children_take_both_parents_genes(evolution, tiny_space):
    a = tiny_space.smallest
    b = replace(a, width=(16, 16, 24, 40), depth=(2, 2))
    strategy = evolution(flops=(None, None), parents=2, population=16, mutation_probability=0, crossover_share=1)
    strategy.tell({a: 1.0, b: 1.0})
    pairs = list(zip(tiny_space.values(a), tiny_space.values(b), strict=True))
    children = [tiny_space.values(subnet) for subnet in strategy.ask()]
    crossed = [child for child in children if all(value in pair for value, pair in zip(child, pairs, strict=True))]
    # One of 24 random subnets would pass for a child.
    assert len(crossed) >= 10


def test_best_first_and_of_equal_ones_the_cheaper(evolution, tiny_space, costs):
    cheap, dear = replace(tiny_space.smallest, resolution=24), replace(tiny_space.largest, resolution=16)
    assert costs[cheap].flops < costs[dear].flops
    middle = tiny_space.smallest
    strategy = evolution()
    strategy.tell({dear: 0.5, middle: 0.9})
    strategy.tell({cheap: 0.5})
    assert strategy.best() == [middle]
    assert strategy.best(2) == [middle, cheap]
    assert strategy.best(10) == [middle, cheap, dear]


def test_a_score_that_is_no_number_is_never_the_best(evolution, tiny_space):
    strategy = evolution()
    strategy.tell({tiny_space.largest: math.nan, tiny_space.smallest: -0.1})
    assert strategy.best(2) == [tiny_space.smallest, tiny_space.largest]


# The end


def test_a_budget_of_exactly_the_smallest_subnet_asks_for_it(evolution, tiny_space):
    strategy = evolution(flops=(None, 82_048))
    assert strategy.ask() == [tiny_space.smallest]
    strategy.tell({tiny_space.smallest: 0.5})
    assert strategy.ask() == []


def test_a_bound_of_exactly_the_largest_subnet_asks_for_it(evolution, tiny_space):
    assert evolution(flops=(2_081_312, None)).ask() == [tiny_space.largest]


@pytest.mark.parametrize('flops', [(None, 150_000), (1_500_000, None), (None, BUDGET), (None, None)])
def test_a_space_that_runs_out_ends_the_search(evolution, costs, flops):
    """An empty answer means that every feasible subnet was told."""
    low, high = flops[0] or 0, flops[1] or math.inf
    feasible = {subnet for subnet, cost in costs.items() if low <= cost.flops <= high}
    strategy = evolution(flops=flops, population=16)
    for _ in range(len(feasible) + 1):
        if not (candidates := strategy.ask()):
            break
        assert len(candidates) <= 16
        strategy.tell({subnet: score(subnet) for subnet in candidates})
    assert strategy.ask() == []
    missed = feasible - strategy.scores.keys()
    assert not missed, f'{len(missed)} of {len(feasible)} were never asked for'


def test_constraints_that_exclude_each_other_are_refused(evolution):
    """Each can be met, not both."""
    with pytest.raises(
        InputError, match=r'400 tries found no subnet that meets all ranges at once: flops in \[0, 82,048\]'
    ) as error:
        evolution(flops=(None, 82_048), params=(46_196, None)).ask()
    assert 'params in [46,196, inf] (of 7,228 to 46,196)' in str(error.value)


# Bad input


@pytest.mark.parametrize('value', [0, -1, 2.0, True, '8'])
@pytest.mark.parametrize('name', ['population', 'parents'])
def test_numbers_of_subnets_are_positive_integers(evolution, name, value):
    with pytest.raises(InputError, match=f'Evolution: {name} is {value!r}; expected an integer of 1 or more'):
        evolution(**{name: value})


@pytest.mark.parametrize('value', [2, -0.1, math.nan, '0.1', None])
@pytest.mark.parametrize('name', ['mutation_probability', 'crossover_share'])
def test_probabilities_are_0_to_1(evolution, name, value):
    with pytest.raises(InputError, match=f'Evolution: {name} is {value!r}; expected 0 to 1'):
        evolution(**{name: value})
