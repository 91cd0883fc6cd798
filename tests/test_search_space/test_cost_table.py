"""CostTable: what estimate() counts, looked up."""

from random import Random

import numpy as np
import pytest

from mmrazor_bignas.search_space import CostTable, SearchSpace, estimate, extreme_subnets, resolve
from mmrazor_bignas.search_space import cost_table as module
from mmrazor_bignas.search_space.layers import parts


def test_every_subnet_of_a_small_space(small_space):
    table = CostTable(small_space, 4)
    subnets = list(small_space.enumerate())
    costs = [estimate(resolve(small_space, subnet), 4) for subnet in subnets]
    assert [table(subnet) for subnet in subnets] == costs
    many = table.many(np.array([small_space.values(subnet) for subnet in subnets]))
    assert many.tolist() == [[cost.flops, cost.params] for cost in costs]


@pytest.mark.parametrize('at_once', [module.AT_ONCE, 7])
def test_random_subnets_of_the_imagenet_space(imagenet_space, monkeypatch, at_once):
    monkeypatch.setattr(module, 'AT_ONCE', at_once)
    rng = Random(0)
    table = CostTable(imagenet_space, 1000)
    subnets = [imagenet_space.smallest, imagenet_space.largest, *(imagenet_space.sample(rng) for _ in range(300))]
    costs = [estimate(resolve(imagenet_space, subnet), 1000) for subnet in subnets]
    assert [table(subnet) for subnet in subnets] == costs
    many = table.many(np.array([imagenet_space.values(subnet) for subnet in subnets]))
    assert many.tolist() == [[cost.flops, cost.params] for cost in costs]
    assert table.many(np.zeros((0, len(imagenet_space.genes)), int)).shape == (0, 2)


def test_the_table_stays_small_where_blocks_choose_by_themselves(imagenet_space):
    rows = imagenet_space.to_dict()
    space = SearchSpace.from_dict({**rows, 'stages': [{**stage, 'per_block': True} for stage in rows['stages']]})
    assert space.size > 10**27
    assert sum(len(choices) for _, choices in parts(space, 1000)) < 20_000
    table, rng = CostTable(space, 1000), Random(0)
    for subnet in [space.smallest, space.largest, *(space.sample(rng) for _ in range(100))]:
        assert table(subnet) == estimate(resolve(space, subnet), 1000)
    extremes = extreme_subnets(space, lambda subnet: table(subnet).flops)
    assert extremes == (space.smallest, space.largest)


def test_odd_sides_and_strides(tiny_rows):
    """Sides that do not halve evenly; two stages that stride, the first without an expansion."""
    tiny_rows['resolution'] = [17, 23, 30]
    tiny_rows['stages'][0]['stride'] = 2
    space = SearchSpace.from_dict(tiny_rows)
    table, rng = CostTable(space, 3), Random(0)
    for subnet in [space.sample(rng) for _ in range(200)]:
        assert table(subnet) == estimate(resolve(space, subnet), 3)
