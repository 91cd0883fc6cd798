"""SearchSpace: the count, the draws, the checks."""

import random
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SearchSpace


def test_size_of_the_published_space(imagenet_space):
    assert imagenet_space.size == 440_301_256_704


def test_genes_are_named_as_a_user_finds_them(tiny_space):
    assert [(gene.name, gene.choices) for gene in tiny_space.genes] == [
        ('resolution', (16, 24, 32)),
        ('width[0] (stem)', (8, 16)),
        ('width[1] (mb1)', (8, 16)),
        ('width[2] (mb2)', (16, 24)),
        ('width[3] (head)', (32, 40)),
        ('depth[0] (mb1)', (1, 2)),
        ('depth[1] (mb2)', (1, 2)),
        ('kernel_size[0] (mb1)', (3, 5)),
        ('kernel_size[1] (mb2)', (3, 5)),
        ('expand_ratio[0] (mb1)', (1,)),
        ('expand_ratio[1] (mb2)', (4, 6)),
    ]


def test_enumerate_gives_every_subnet_once(tiny_space):
    subnets = list(tiny_space.enumerate())
    assert len(subnets) == len(set(subnets)) == tiny_space.size == 1536
    assert all(subnet in tiny_space for subnet in subnets)


def test_smallest_and_largest(tiny_space):
    assert tiny_space.values(tiny_space.smallest) == [16, 8, 8, 16, 32, 1, 1, 3, 3, 1, 4]
    assert tiny_space.values(tiny_space.largest) == [32, 16, 16, 24, 40, 2, 2, 5, 5, 1, 6]


def test_values_and_subnet_are_inverse(imagenet_space):
    a3 = (224, 16, 16, 24, 32, 64, 112, 208, 224, 1984, 2, 3, 3, 4, 3, 5, 1, 3, 3, 3, 5, 3, 3, 3, 1, 4, 4, 4, 4, 6, 6)
    subnet = imagenet_space.subnet(a3)
    assert (subnet.resolution, subnet.width[0], subnet.width[-1], subnet.depth[3]) == (224, 16, 1984, 4)
    assert imagenet_space.values(subnet) == list(a3)


# Draws


def test_samples_are_of_the_space_and_reach_every_choice_evenly(tiny_space):
    rng = Random(0)
    samples = [tiny_space.sample(rng) for _ in range(2000)]
    assert all(subnet in tiny_space for subnet in samples)
    for gene, values in zip(tiny_space.genes, zip(*map(tiny_space.values, samples), strict=True), strict=True):
        share = {choice: count / len(samples) for choice, count in Counter(values).items()}
        assert share == pytest.approx(dict.fromkeys(gene.choices, 1 / len(gene.choices)), abs=0.05), gene.name


def test_mutants_are_of_the_space(imagenet_space):
    rng = Random(0)
    subnet = imagenet_space.smallest
    for _ in range(200):
        subnet = imagenet_space.mutate(subnet, rng, 0.3)
        assert subnet in imagenet_space


@pytest.mark.parametrize('probability', [0, 0.2, 1])
def test_every_gene_is_redrawn_with_the_given_probability(tiny_space, probability):
    rng = Random(0)
    subnet, trials = tiny_space.smallest, 2000
    mutants = [tiny_space.values(tiny_space.mutate(subnet, rng, probability)) for _ in range(trials)]
    for i, (gene, value) in enumerate(zip(tiny_space.genes, tiny_space.values(subnet), strict=True)):
        changed = sum(mutant[i] != value for mutant in mutants) / trials
        # A redraw may draw the old value again.
        assert changed == pytest.approx(probability * (1 - 1 / len(gene.choices)), abs=0.05), gene.name


def test_a_crossed_subnet_takes_every_gene_from_a_parent(imagenet_space):
    rng = Random(0)
    a, b = imagenet_space.smallest, imagenet_space.largest
    parents = list(zip(imagenet_space.values(a), imagenet_space.values(b), strict=True))
    children = [imagenet_space.values(imagenet_space.crossover(a, b, rng)) for _ in range(50)]
    assert all(value in pair for child in children for value, pair in zip(child, parents, strict=True))
    assert all(set(values) == set(pair) for values, pair in zip(zip(*children, strict=True), parents, strict=True))


def test_draws_depend_on_the_given_generator_only(tiny_space):
    def draws(seed):
        rng = Random(seed)
        a, b = tiny_space.sample(rng), tiny_space.sample(rng)
        return a, b, tiny_space.mutate(a, rng, 0.5), tiny_space.crossover(a, b, rng)

    state = random.getstate()
    assert draws(7) == draws(7) != draws(8)
    assert random.getstate() == state


# In and out


def test_dict_round_trip(imagenet_space):
    table = imagenet_space.to_dict()
    again = SearchSpace.from_dict(table)
    assert again == imagenet_space
    assert hash(again) == hash(imagenet_space)
    assert again.to_dict() == table
    assert SearchSpace.from_dict(again) is again


def test_rows_of_a_space_build_the_same_space(tiny_space):
    again = SearchSpace(tiny_space.resolution, tiny_space.stem, tiny_space.stages, tiny_space.head)
    assert again == tiny_space


@pytest.mark.parametrize(('key', 'value'), [('stride', 1), ('se', False), ('width', [16])])
def test_spaces_that_differ_are_not_equal(tiny_space, tiny_rows, key, value):
    tiny_rows['stages'][1][key] = value
    assert SearchSpace.from_dict(tiny_rows) != tiny_space


def test_a_fixed_row_may_be_one_number(tiny_rows):
    tiny_rows['resolution'] = 24
    assert SearchSpace.from_dict(tiny_rows).resolution == (24,)


def test_a_stage_without_a_name_is_called_by_its_number(tiny_rows):
    del tiny_rows['stages'][1]['name']
    assert SearchSpace.from_dict(tiny_rows).genes[3].name == 'width[2] (stage2)'


# Subnets of other spaces


@pytest.mark.parametrize(
    ('gene', 'message'),
    [
        ({'resolution': 20}, r'resolution is 20, .*\[16, 24, 32\]'),
        ({'width': (8, 8, 20, 32)}, r'width\[2\] \(mb2\) is 20, .*\[16, 24\]'),
        ({'depth': (1, 3)}, r'depth\[1\] \(mb2\) is 3, .*\[1, 2\]'),
        ({'kernel_size': (7, 3)}, r'kernel_size\[0\] \(mb1\) is 7, .*\[3, 5\]'),
        ({'expand_ratio': (1, 5)}, r'expand_ratio\[1\] \(mb2\) is 5, .*\[4, 6\]'),
        ({'width': (8, 8, 16)}, 'width has 3 values, this search space needs 4'),
        ({'depth': (1, 1, 1)}, 'depth has 3 values, this search space needs 2'),
    ],
)
def test_validate_names_the_gene_and_its_choices(tiny_space, gene, message):
    subnet = replace(tiny_space.smallest, **gene)
    assert subnet not in tiny_space
    with pytest.raises(InputError, match=f'^mine.yaml: {message}'):
        tiny_space.validate(subnet, source='mine.yaml')


def test_validate_returns_what_the_space_holds(tiny_space):
    subnet = tiny_space.largest
    assert tiny_space.validate(subnet) is subnet


# Malformed tables


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ([], 'positive integers'),
        ([0, 16], 'positive integers'),
        ([-16], 'positive integers'),
        ([True], 'positive integers'),
        ([16.0], 'positive integers'),
        (['16'], 'positive integers'),
        ('16', 'positive integers'),
        (16.5, 'positive integers'),
        (None, 'positive integers'),
        ([24, 16], 'ascending order'),
        ([16, 16], 'distinct values'),
    ],
)
def test_a_row_is_one_or_more_ascending_positive_integers(tiny_rows, value, message):
    tiny_rows['stages'][1]['width'] = value
    with pytest.raises(InputError, match=rf'search space: mb2\.width is .*{message}'):
        SearchSpace.from_dict(tiny_rows)


@pytest.mark.parametrize('row', ['resolution', 'stem', 'head', 'mb2.depth', 'mb2.kernel_size', 'mb2.expand_ratio'])
def test_every_row_is_checked(tiny_rows, row):
    table = tiny_rows['stages'][1] if row.startswith('mb2') else tiny_rows
    table[row.removeprefix('mb2.')] = [5, 3]
    with pytest.raises(InputError, match=f'search space: {row} is .*ascending order'):
        SearchSpace.from_dict(tiny_rows)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('kernel_size', [3, 4], r'mb2.kernel_size is \[3, 4\]; expected odd sizes'),
        ('expand_ratio', [1, 4], r'mb2.expand_ratio is \[1, 4\]; 1 means blocks without'),
        ('stride', 3, 'mb2.stride is 3; expected 1 or 2'),
        ('stride', True, 'mb2.stride is True; expected 1 or 2'),
        ('stride', 2.0, 'mb2.stride is 2.0; expected 1 or 2'),
        ('se', 'no', "mb2.se is 'no'; expected"),
        ('kernel', [3], r"mb2 has unknown keys \['kernel'\].*known: .*'kernel_size'"),
    ],
)
def test_a_stage_is_refused(tiny_rows, key, value, message):
    tiny_rows['stages'][1][key] = value
    with pytest.raises(InputError, match=message):
        SearchSpace.from_dict(tiny_rows)


@pytest.mark.parametrize('key', ['width', 'depth', 'kernel_size', 'expand_ratio'])
def test_a_stage_needs_its_mutables(tiny_rows, key):
    del tiny_rows['stages'][1][key]
    with pytest.raises(InputError, match=rf"mb2 .*misses \['{key}'\]"):
        SearchSpace.from_dict(tiny_rows)


@pytest.mark.parametrize('stages', [[], None, 3, 'mb1', ['mb1'], [None]])
def test_stages_are_a_list_of_mappings(tiny_rows, stages):
    tiny_rows['stages'] = stages
    with pytest.raises(InputError, match='search space: stage'):
        SearchSpace.from_dict(tiny_rows)


def test_a_table_has_exactly_four_keys(tiny_rows):
    with pytest.raises(InputError, match=r"missing \[\], unknown \['heads'\]"):
        SearchSpace.from_dict({**tiny_rows, 'heads': [32]})
    del tiny_rows['head']
    with pytest.raises(InputError, match=r"missing \['head'\], unknown \[\]"):
        SearchSpace.from_dict(tiny_rows)


@pytest.mark.parametrize('table', [None, 3, [1, 2]])
def test_a_table_is_a_mapping(table):
    with pytest.raises(InputError, match='search space: expected'):
        SearchSpace.from_dict(table)
