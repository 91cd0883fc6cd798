"""Constraints: what is feasible, and the walks to it."""

import math
from dataclasses import replace
from random import Random

import pytest
from conftest import TINY_CLASSES

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import Constraints
from mmrazor_bignas.search_space import SearchSpace, estimate, resolve


@pytest.fixture(scope='module')
def costs(tiny_space):
    """The cost of every subnet of the tiny space."""
    return {subnet: estimate(resolve(tiny_space, subnet), TINY_CLASSES) for subnet in tiny_space.enumerate()}


@pytest.fixture
def constrain(tiny_space, costs):
    """Constraints on the tiny space: ``constrain(flops=(low, high))``."""
    return lambda **ranges: Constraints(tiny_space, costs.__getitem__, ranges)


def steps(space, subnet, direction):
    """Every subnet that is one choice of one gene larger (+1) or smaller (-1)."""
    values = space.values(subnet)
    for i, gene in enumerate(space.genes):
        place = gene.choices.index(values[i]) + direction
        if 0 <= place < len(gene.choices):
            yield gene, space.subnet([*values[:i], gene.choices[place], *values[i + 1 :]])


BUDGETS = [
    {'flops': (None, 500_000)},
    {'flops': (300_000, 500_000)},
    {'flops': (1_000_000, None)},
    {'params': (None, 12_000)},
    {'flops': (None, 700_000), 'params': (10_000, 20_000)},
]


@pytest.mark.parametrize('ranges', BUDGETS)
def test_feasible_is_within_every_range(constrain, costs, ranges):
    constraints = constrain(**ranges)

    def inside(cost):
        return all((low or 0) <= getattr(cost, name) <= (high or math.inf) for name, (low, high) in ranges.items())

    expected = {subnet for subnet, cost in costs.items() if inside(cost)}
    assert 0 < len(expected) < len(costs)
    assert {subnet for subnet in costs if constraints.feasible(subnet)} == expected


def test_bounds_are_inclusive(constrain, tiny_space, costs):
    subnet = tiny_space.sample(Random(0))
    flops, params = costs[subnet].flops, costs[subnet].params
    assert constrain(flops=(flops, flops), params=(params, params)).feasible(subnet)
    assert not constrain(flops=(flops + 1, None)).feasible(subnet)
    assert not constrain(params=(None, params - 1)).feasible(subnet)


def test_excess_says_in_which_direction(constrain, tiny_space):
    constraints = constrain(flops=(300_000, 500_000))
    assert constraints.excess(tiny_space.smallest) == -1
    assert constraints.excess(tiny_space.largest) == 1
    # Too little of one and too much of the other: it must shrink first.
    assert constrain(flops=(2_000_000, None), params=(None, 40_000)).excess(tiny_space.largest) == 1


def test_without_ranges_all_is_feasible(constrain, costs):
    constraints = constrain()
    assert all(constraints.feasible(subnet) for subnet in costs)


# Repair


@pytest.mark.parametrize('ranges', BUDGETS)
def test_repair_gives_feasible_subnets_and_leaves_those_alone(constrain, tiny_space, costs, ranges):
    constraints = constrain(**ranges)
    rng = Random(0)
    repaired = 0
    for subnet in costs:
        result = constraints.repair(subnet, rng)
        if constraints.feasible(subnet):
            assert result == subnet
        elif result is not None:
            repaired += 1
            assert constraints.feasible(result)
            assert result in tiny_space
    infeasible = sum(not constraints.feasible(subnet) for subnet in costs)
    assert repaired > 0.9 * infeasible


@pytest.mark.parametrize('ranges', [{'flops': (None, 82_048)}, {'params': (None, 7_228)}])
def test_repair_reaches_the_smallest_subnet(constrain, tiny_space, costs, ranges):
    constraints = constrain(**ranges)
    rng = Random(0)
    for subnet in costs:
        repaired = constraints.repair(subnet, rng)
        assert constraints.feasible(repaired)
        if 'flops' in ranges:
            assert repaired == tiny_space.smallest


def test_repair_reaches_the_largest_subnet(constrain, tiny_space, costs):
    constraints = constrain(flops=(costs[tiny_space.largest].flops, None))
    assert constraints.repair(tiny_space.smallest, Random(0)) == tiny_space.largest


def test_repair_only_shrinks_what_is_too_large(constrain, tiny_space):
    constraints = constrain(flops=(None, 500_000))
    rng = Random(0)
    for _ in range(50):
        subnet = tiny_space.sample(rng)
        pairs = zip(tiny_space.values(constraints.repair(subnet, rng)), tiny_space.values(subnet), strict=True)
        assert all(new <= old for new, old in pairs)


def test_repair_gives_up_where_nothing_is_feasible(constrain, tiny_space, costs):
    constraints = constrain(flops=(None, 82_048), params=(46_196, None))
    assert all(constraints.repair(subnet, Random(0)) is None for subnet in costs)


# Grow


@pytest.mark.parametrize('budget', [100_000, 500_000, 2_081_312])
def test_grown_subnets_are_feasible_and_cannot_grow_further(constrain, tiny_space, budget):
    constraints = constrain(flops=(None, budget))
    grown = {constraints.grow(tiny_space.smallest, Random(seed)) for seed in range(30)}
    for subnet in grown:
        assert constraints.feasible(subnet)
        assert subnet.resolution == tiny_space.smallest.resolution
        assert not any(
            constraints.feasible(larger) for gene, larger in steps(tiny_space, subnet, +1) if gene.row != 'resolution'
        )
    # Random walks end in different places, unless everything but the resolution fits.
    assert len(grown) > 1 or budget == 2_081_312


def test_grow_to_everything(constrain, tiny_space):
    grown = constrain().grow(tiny_space.smallest, Random(0))
    assert tiny_space.values(grown) == [16, *tiny_space.values(tiny_space.largest)[1:]]


# Blocks that choose by themselves


@pytest.fixture(scope='module')
def block_costs(per_block_space):
    return {subnet: estimate(resolve(per_block_space, subnet), TINY_CLASSES) for subnet in per_block_space.enumerate()}


@pytest.mark.parametrize('upwards', [False, True])
def test_every_step_of_a_walk_is_one(per_block_space, block_costs, upwards):
    """None changes nothing: a gene of a block that does not run."""
    visited = []

    def cost(subnet):
        visited.append(subnet)
        return block_costs[subnet]

    ordered = sorted(block_costs, key=lambda subnet: block_costs[subnet].flops)
    low, high = ordered[100], ordered[-100]
    bounds = (block_costs[high].flops, None) if upwards else (None, block_costs[low].flops)
    constraints = Constraints(per_block_space, cost, {'flops': bounds})
    walked = 0
    for subnet in ordered[::10]:
        visited.clear()
        repaired = constraints.repair(subnet, Random(0))
        assert constraints.feasible(repaired)
        walk = visited[: visited.index(repaired) + 1]
        assert len(set(walk)) == len(walk)
        walked += len(walk) > 3
    assert walked > 50


def test_a_walk_up_reaches_the_largest_subnet(per_block_space, block_costs):
    largest = per_block_space.largest
    constraints = Constraints(per_block_space, block_costs.__getitem__, {'flops': (block_costs[largest].flops, None)})
    for seed in range(10):
        assert constraints.repair(per_block_space.smallest, Random(seed)) == largest
        unbound = Constraints(per_block_space, block_costs.__getitem__, {})
        grown = unbound.grow(per_block_space.smallest, Random(seed))
        assert grown == replace(largest, resolution=grown.resolution)  # blocks that the walk added grew, too


def test_what_has_grown_cannot_grow_further(per_block_space, block_costs):
    budget = sorted(cost.flops for cost in block_costs.values())[len(block_costs) // 4]
    constraints = Constraints(per_block_space, block_costs.__getitem__, {'flops': (None, budget)})
    grown = {constraints.grow(per_block_space.smallest, Random(seed)) for seed in range(30)}
    assert len(grown) > 5
    for subnet in grown:
        larger = {s for gene, s in steps(per_block_space, subnet, +1) if gene.row != 'resolution'} - {subnet}
        assert constraints.feasible(subnet)
        assert not any(map(constraints.feasible, larger))


# Bad input


def test_an_unknown_name_is_refused(constrain):
    with pytest.raises(InputError, match=r"constraints: 'memory' is unknown; .*'flops', 'params', 'latency'"):
        constrain(memory=(None, 10))


def test_a_constraint_without_its_estimator_is_refused(constrain):
    with pytest.raises(InputError, match=r'constraints: latency has no estimator; .*bignas latency'):
        constrain(latency=(None, 10))


@pytest.mark.parametrize('bounds', [(500_000, 300_000), (None, -1), (math.nan, None), (None, math.nan)])
def test_an_inverted_range_is_refused(constrain, bounds):
    with pytest.raises(InputError, match=r'constraints: flops is \('):
        constrain(flops=bounds)


@pytest.mark.parametrize('bounds', [500_000, None, '12', (1,), (1, 2, 3), {'low': 1, 'high': 2}, {1, 2}])
def test_a_range_is_a_pair(constrain, bounds):
    with pytest.raises(InputError, match=r'constraints: flops is .*; expected \(low, high\)'):
        constrain(flops=bounds)


@pytest.mark.parametrize('bound', [True, '500000', [500_000]])
def test_a_bound_is_a_number_or_none(constrain, bound):
    with pytest.raises(InputError, match=r'constraints: flops is .*; expected numbers or None'):
        constrain(flops=(None, bound))


@pytest.mark.parametrize('ranges', [None, [], [('flops', (None, 500_000))], 500_000])
def test_ranges_are_a_mapping(tiny_space, costs, ranges):
    with pytest.raises(InputError, match='constraints: '):
        Constraints(tiny_space, costs.__getitem__, ranges)


@pytest.mark.parametrize(
    ('ranges', 'reached'),
    [
        ({'flops': (None, 82_047)}, '82,048 to 2,081,312'),
        ({'flops': (2_081_313, None)}, '82,048 to 2,081,312'),
        ({'params': (None, 7_227)}, '7,228 to 46,196'),
    ],
)
def test_an_unreachable_budget_says_what_is_reached(constrain, ranges, reached):
    with pytest.raises(InputError, match=f'no subnet has {next(iter(ranges))} in .*reaches {reached}'):
        constrain(**ranges)


def test_a_reachable_budget_is_accepted_where_a_wider_subnet_is_cheaper():
    """Where a wider stage needs no shortcut convolution any more, the smallest subnet is not the cheapest."""
    stage = {'depth': [1], 'kernel_size': [3], 'expand_ratio': [1]}
    space = SearchSpace([32], [64], [{'width': [56, 64], **stage}, {'width': [8], **stage}], [16])

    def cost(subnet):
        return estimate(resolve(space, subnet), 4)

    budget = cost(space.largest).flops
    assert budget < cost(space.smallest).flops
    constraints = Constraints(space, cost, {'flops': (None, budget)})
    assert constraints.repair(space.smallest, Random(0)) == space.largest
    with pytest.raises(InputError, match=f'reaches {budget:,} to {cost(space.smallest).flops:,}'):
        Constraints(space, cost, {'flops': (None, budget - 1)})
