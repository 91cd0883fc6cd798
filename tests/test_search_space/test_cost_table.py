"""CostTable: what estimate() counts, looked up."""

from random import Random

import numpy as np
import pytest

from mmrazor_bignas.search_space import CostTable, SearchSpace, estimate, resolve
from mmrazor_bignas.search_space import cost_table as module


def test_every_subnet_of_a_small_space(tiny_space):
    table = CostTable(tiny_space, 4)
    subnets = list(tiny_space.enumerate())
    costs = [estimate(resolve(tiny_space, subnet), 4) for subnet in subnets]
    assert [table(subnet) for subnet in subnets] == costs
    many = table.many(np.array([tiny_space.values(subnet) for subnet in subnets]))
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


def test_odd_sides_and_strides(tiny_rows):
    """Sides that do not halve evenly; two stages that stride, the first without an expansion."""
    tiny_rows['resolution'] = [17, 23, 30]
    tiny_rows['stages'][0]['stride'] = 2
    space = SearchSpace.from_dict(tiny_rows)
    table, rng = CostTable(space, 3), Random(0)
    for subnet in [space.sample(rng) for _ in range(200)]:
        assert table(subnet) == estimate(resolve(space, subnet), 3)
