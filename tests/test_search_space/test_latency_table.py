"""Layers of a space, and the table of what they take."""

import json
from random import Random

import pytest
from conftest import TINY_CLASSES

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import Constraints
from mmrazor_bignas.search_space import (
    MEASURED_ON,
    CostTable,
    LatencyTable,
    SearchSpace,
    distinct_layers,
    extreme_subnets,
    network_layers,
    resolve,
)

MADE_UP = {'machine': 'M', 'device': 'cpu', 'batch_size': 1, 'threads': 1, 'dtype': 'float32', 'torch': '2'}


def made_up(space, seed=0):
    """A table without rhyme or reason: a larger layer may be faster."""
    rng = Random(seed)
    milliseconds = {str(layer): rng.uniform(0.1, 1) for layer in distinct_layers(space, TINY_CLASSES)}
    return LatencyTable(milliseconds, MADE_UP, space, TINY_CLASSES)


def test_distinct_layers_are_those_of_all_subnets(small_space):
    of_subnets = {
        layer
        for subnet in small_space.enumerate()
        for layer in network_layers(resolve(small_space, subnet), TINY_CLASSES)
    }
    layers = distinct_layers(small_space, TINY_CLASSES)
    assert len(layers) == len(set(layers))
    assert set(layers) == of_subnets
    assert len(set(map(str, layers))) == len(layers)


def test_names_of_the_published_space_are_distinct(imagenet_space):
    names = list(map(str, distinct_layers(imagenet_space, 1000)))
    assert len(set(names)) == len(names) == 896
    assert names[0] == 'stem 3-16 kernel 3, stride 2, side 192'
    assert 'block 16-96-24 kernel 5, stride 2, shortcut, side 96' in names
    assert 'head 216-1296-1792-1000 side 6' in names


def test_latency_is_the_sum_over_layers(small_space):
    table = made_up(small_space)
    cost = CostTable(small_space, TINY_CLASSES, table)
    plain = CostTable(small_space, TINY_CLASSES)
    for subnet in small_space.enumerate():
        expected = sum(map(table.of, network_layers(resolve(small_space, subnet), TINY_CLASSES)))
        assert cost(subnet).latency == pytest.approx(expected, rel=1e-12)
        assert (cost(subnet).flops, cost(subnet).params) == (plain(subnet).flops, plain(subnet).params)
        assert plain(subnet).latency is None


@pytest.mark.parametrize('seed', range(3))
def test_extremes_of_latency_are_those_of_all_subnets(small_space, seed):
    cost = CostTable(small_space, TINY_CLASSES, made_up(small_space, seed))
    latencies = [cost(subnet).latency for subnet in small_space.enumerate()]
    fastest, slowest = extreme_subnets(small_space, lambda subnet: cost(subnet).latency)
    assert cost(fastest).latency == pytest.approx(min(latencies), rel=1e-12)
    assert cost(slowest).latency == pytest.approx(max(latencies), rel=1e-12)


def test_latency_is_a_constraint_beside_others(tiny_space):
    cost = CostTable(tiny_space, TINY_CLASSES, made_up(tiny_space))
    ranges = {'latency': (2.0, 2.8), 'flops': (None, 1_000_000), 'params': (10_000, None)}
    constraints = Constraints(tiny_space, cost, ranges)
    rng = Random(0)
    for _ in range(50):
        subnet = constraints.repair(tiny_space.sample(rng), rng)
        assert 2.0 <= cost(subnet).latency <= 2.8
        assert cost(subnet).flops <= 1_000_000
        assert cost(subnet).params >= 10_000
    with pytest.raises(
        InputError, match=r'no subnet has latency in \[0, 0\.01\]; this search space reaches \d\.\d+ to'
    ):
        Constraints(tiny_space, cost, {'latency': (None, 0.01)})


def test_a_file_reads_back(tiny_space, tmp_path):
    table = made_up(tiny_space)
    path = tmp_path / 'latency.json'
    path.write_text(table.to_json())
    found = LatencyTable.load(path)
    assert (found.milliseconds, found.measured_on) == (table.milliseconds, MADE_UP)
    found.check_space(tiny_space, TINY_CLASSES)


# Bad input


def test_a_table_of_another_space_is_refused(tiny_space, tiny_rows, imagenet_space):
    table = made_up(tiny_space)
    with pytest.raises(InputError, match='latency table: is of another search space'):
        table.check_space(imagenet_space, TINY_CLASSES)
    with pytest.raises(InputError, match=f'{TINY_CLASSES} classes; here .* 7 classes'):
        table.check_space(tiny_space, 7)
    tiny_rows['resolution'] = [48]
    with pytest.raises(InputError, match=r'has no "stem .* side 48", so it is of another search space'):
        CostTable(SearchSpace.from_dict(tiny_rows), TINY_CLASSES, table)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'format': 'other'}, 'not a latency table; it has no "format"'),
        ({'layers': {'stem': 0}}, '"stem" takes 0; expected milliseconds above 0'),
        ({'layers': {'stem': 'fast'}}, '"stem" takes \'fast\'; expected milliseconds'),
        ({'layers': {'stem': float('nan')}}, '"stem" takes nan; expected milliseconds'),
        ({'layers': []}, 'expected "layers", and "measured_on" with'),
        ({'measured_on': {'machine': 'M', 'date': 1, **dict.fromkeys(MEASURED_ON[2:])}}, '"measured_on" with'),
        ({'search_space': {'stem': [8]}}, 'search space: expected exactly the keys'),
    ],
)
def test_a_foreign_file_is_refused(tiny_space, tmp_path, change, message):
    path = tmp_path / 'latency.json'
    path.write_text(json.dumps({**json.loads(made_up(tiny_space).to_json()), **change}))
    with pytest.raises(InputError) as error:
        LatencyTable.load(path)
    assert str(error.value).startswith(f'{path}: ')
    assert message in str(error.value)


@pytest.mark.parametrize('content', ['', 'stem 3', '[1]', '{"a": 1, "a": 2}', '[' * 20_000], ids=lambda it: it[:30])
def test_no_table_at_all(tmp_path, content):
    path = tmp_path / 'latency.json'
    with pytest.raises(InputError, match='no such latency table'):
        LatencyTable.load(path)
    path.write_text(content)
    with pytest.raises(InputError, match=r'latency\.json: .*(no|not a) latency table'):
        LatencyTable.load(path)
