import random

import pytest

from mmrazor_bignas.algorithms import SandwichSampler
from mmrazor_bignas.errors import InputError


def test_the_sandwich(tiny_space):
    subnets = SandwichSampler(num_random=2)(tiny_space, step=0)
    assert list(subnets) == ['largest', 'random1', 'random2', 'smallest']
    assert subnets['largest'] == tiny_space.largest
    assert subnets['smallest'] == tiny_space.smallest
    assert all(subnet in tiny_space for subnet in subnets.values())


def test_a_pure_function_of_seed_and_step(tiny_space):
    first, second = SandwichSampler(seed=3), SandwichSampler(seed=3)
    steps = [first(tiny_space, step) for step in range(20)]
    random.seed(99)
    assert [second(tiny_space, step) for step in reversed(range(20))] == steps[::-1]
    assert len({tuple(subnets.values()) for subnets in steps}) == 20
    assert SandwichSampler(seed=4)(tiny_space, 0) != steps[0]


def test_a_negative_number_is_refused():
    with pytest.raises(InputError, match='num_random is -1'):
        SandwichSampler(num_random=-1)
