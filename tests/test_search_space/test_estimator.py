"""FLOPs and params, to the digit."""

import json
from dataclasses import replace
from random import Random

import pytest
from conftest import ROOT, TINY_CLASSES

from mmrazor_bignas.search_space import (
    Cost,
    SearchSpace,
    SubnetSpec,
    distinct_layers,
    estimate,
    extreme_subnets,
    network_layers,
    resolve,
)

# Table 1 of the published networks: resolution, multiply-adds, params, blocks.
GOLDEN = {
    'A0': (192, 203_389_568, 8_954_184, 17),
    'A1': (224, 279_238_816, 9_452_872, 17),
    'A2': (224, 316_730_080, 11_149_824, 18),
    'A3': (224, 356_518_400, 12_784_928, 21),
    'A4': (256, 443_530_752, 11_809_640, 20),
    'A5': (256, 490_520_064, 12_597_464, 21),
    'A6': (288, 709_007_232, 15_154_792, 22),
}


@pytest.mark.parametrize('name', GOLDEN)
def test_published_subnets(imagenet_space, name):
    subnet = SubnetSpec.from_yaml(ROOT / f'configs/nas/mmcls/bignas/ATTENTIVE_SUBNET_{name}.yaml')
    cost = estimate(resolve(imagenet_space, imagenet_space.validate(subnet)), 1000)
    assert (subnet.resolution, cost.flops, cost.params, sum(subnet.depth)) == GOLDEN[name]


@pytest.mark.parametrize(
    ('name', 'golden'), [('smallest', GOLDEN['A0']), ('largest', (288, 1_939_335_808, 23_404_080, 37))]
)
def test_smallest_and_largest(imagenet_space, name, golden):
    subnet = getattr(imagenet_space, name)
    cost = estimate(resolve(imagenet_space, subnet), 1000)
    assert (subnet.resolution, cost.flops, cost.params, sum(subnet.depth)) == golden


def test_every_term_by_hand(tiny_space):
    """The smallest subnet: stem, mb1, mb2 with SE and shortcut, head, classifier; 16 px, then 8, then 4."""
    flops = {
        'stem': 3 * 8 * 9 * 64,
        'mb1': (8 * 9 + 8 * 8) * 64,
        'mb2': 8 * 32 * 64 + (32 * 9 + 32 * 16 + 8 * 16) * 16,
        'mb2 se': 32 * 8 + 8 * 32,
        'head': 16 * 96 * 16 + 96 * 32,
        'classifier': 32 * 4,
    }
    params = {
        'stem': 3 * 8 * 9 + 16,
        'mb1': 8 * 9 + 16 + 8 * 8 + 16,
        'mb2': 8 * 32 + 64 + 32 * 9 + 64 + 32 * 16 + 32 + 8 * 16,
        'mb2 se': 32 * 8 + 8 + 8 * 32 + 32,
        'head': 16 * 96 + 192 + 96 * 32,
        'classifier': 32 * 4 + 4,
    }
    cost = estimate(resolve(tiny_space, tiny_space.smallest), num_classes=4)
    assert cost == Cost(sum(flops.values()), sum(params.values()))


def test_reference_of_the_reduced_space():
    """Six subnets at four resolutions, counted by an independent implementation."""
    reference = json.loads((ROOT / 'tests/data/parity/reduced_ref.json').read_text())
    rows = reference['supernet']
    stages = [
        {
            'name': name,
            'width': row['c'],
            'depth': row['d'],
            'kernel_size': row['k'],
            'expand_ratio': row['t'],
            'stride': row['s'],
            'se': row['se'],
        }
        for name, row in rows.items()
        if name.startswith('mb')
    ]
    space = SearchSpace(rows['resolutions'], rows['first_conv']['c'], stages, rows['last_conv']['c'])
    ours, theirs = [], []
    for row in reference['subnets']:
        subnet = SubnetSpec.from_dict({gene: row[gene] for gene in space.smallest.to_dict()})
        for side, flops in row['flops'].items():
            resized = space.validate(replace(subnet, resolution=int(side)))
            ours.append(estimate(resolve(space, resized), reference['n_classes']).flops)
            theirs.append(round(flops['analytic']))
    assert len(ours) == 24
    assert ours == theirs


# More of a gene never costs less


def larger(space: SearchSpace, subnet: SubnetSpec):
    """Every gene that can grow, and the subnet with that gene's next choice."""
    values = space.values(subnet)
    for i, gene in enumerate(space.genes):
        for choice in gene.choices[gene.choices.index(values[i]) + 1 :][:1]:
            yield gene, space.subnet([*values[:i], choice, *values[i + 1 :]])


def assert_growing_costs_more(space, subnet, cost):
    before = cost(subnet)
    for gene, grown in larger(space, subnet):
        after = cost(grown)
        assert after.flops > before.flops, (gene.name, subnet)
        # The resolution is the one gene without weights.
        assert (after.params > before.params) == (gene.row != 'resolution'), (gene.name, subnet)
        assert after.params >= before.params, (gene.name, subnet)


def test_every_gene_of_the_tiny_space_costs(tiny_space):
    costs = {subnet: estimate(resolve(tiny_space, subnet), TINY_CLASSES) for subnet in tiny_space.enumerate()}
    for subnet in costs:
        assert_growing_costs_more(tiny_space, subnet, costs.__getitem__)


def test_every_gene_of_the_published_space_costs(imagenet_space):
    rng = Random(0)
    for _ in range(60):
        subnet = imagenet_space.sample(rng)
        assert_growing_costs_more(imagenet_space, subnet, lambda s: estimate(resolve(imagenet_space, s), 1000))


# The cheapest and the dearest


def random_space(seed: int, per_block: bool = False) -> SearchSpace:
    """A few stages of widths that come and go, so that a wider stage may save a shortcut convolution."""
    rng = Random(seed)

    def widths():
        return sorted(rng.sample([8, 24, 56, 64, 96], rng.randint(1, 3)))

    stages = [
        {
            'width': widths(),
            'depth': rng.choice([[1], [1, 2]]),
            'kernel_size': [3, 5] if per_block else [3],
            'expand_ratio': rng.choice([[1], [2]]),
            'stride': rng.choice([1, 2]),
            'se': rng.random() < 0.5,
            'per_block': per_block,
        }
        for _ in range(rng.randint(2, 3))
    ]
    return SearchSpace([16, 24], widths(), stages, [16])


def test_extremes_are_those_of_all_subnets():
    surprises = 0
    for space in map(random_space, range(20)):
        costs = {subnet: estimate(resolve(space, subnet), 4) for subnet in space.enumerate()}
        for name in ('flops', 'params'):
            values = {subnet: getattr(cost, name) for subnet, cost in costs.items()}
            cheapest, dearest = extreme_subnets(space, values.__getitem__)
            assert values[cheapest] == min(values.values())
            assert values[dearest] == max(values.values())
            surprises += values[space.smallest] > values[cheapest] or values[space.largest] < values[dearest]
    # Else the smallest and largest subnets would do.
    assert surprises >= 3


@pytest.mark.parametrize('per_block', [False, True])
def test_extremes_where_costs_follow_no_rule(per_block):
    """As measured ones may: whole numbers, so that sums are exact."""
    for seed in range(6):
        space = random_space(seed, per_block)
        price = {layer: Random(f'{seed}/{layer}').randint(1, 10**6) for layer in distinct_layers(space, 4)}
        costs = {s: sum(map(price.get, network_layers(resolve(space, s), 4))) for s in space.enumerate()}
        cheapest, dearest = extreme_subnets(space, costs.__getitem__)
        assert costs[cheapest] == min(costs.values())
        assert costs[dearest] == max(costs.values())


def test_extremes_where_two_widths_must_change_together():
    """One wider stage alone moves the shortcut convolution, both save it."""
    stages = [{'width': width, 'depth': [1], 'kernel_size': [3], 'expand_ratio': [1]} for width in ([56, 64],) * 2]
    space = SearchSpace([16], [64], [*stages, {**stages[0], 'width': [64]}], [16])
    cheapest, dearest = extreme_subnets(space, lambda subnet: estimate(resolve(space, subnet), 4).flops)
    assert cheapest.width == (64, 64, 64, 64, 16)
    assert dearest.width in {(64, 56, 64, 64, 16), (64, 64, 56, 64, 16)}


def test_extremes_of_the_published_space_are_its_smallest_and_largest(imagenet_space):
    extremes = extreme_subnets(imagenet_space, lambda s: estimate(resolve(imagenet_space, s), 1000).flops)
    assert extremes == (imagenet_space.smallest, imagenet_space.largest)
