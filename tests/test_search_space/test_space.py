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


def test_genes_of_blocks_are_named_as_a_user_finds_them(per_block_space):
    genes = [gene for gene in per_block_space.genes if gene.row in ('kernel_size', 'expand_ratio')]
    assert [(gene.name, gene.choices) for gene in genes] == [
        ('kernel_size[0][0] (mb1)', (3, 5)),
        ('kernel_size[0][1] (mb1)', (3, 5)),
        ('kernel_size[0][2] (mb1)', (3, 5)),
        ('kernel_size[1][0] (mb2)', (3, 5)),
        ('kernel_size[1][1] (mb2)', (3, 5)),
        ('kernel_size[2] (mb3)', (3, 5)),
        ('expand_ratio[0][0] (mb1)', (1,)),
        ('expand_ratio[0][1] (mb1)', (1,)),
        ('expand_ratio[0][2] (mb1)', (1,)),
        ('expand_ratio[1][0] (mb2)', (4, 6)),
        ('expand_ratio[1][1] (mb2)', (4, 6)),
        ('expand_ratio[2] (mb3)', (2,)),
    ]


def test_enumerate_gives_every_subnet_once(small_space):
    subnets = list(small_space.enumerate())
    assert len(subnets) == len(set(subnets)) == small_space.size
    assert all(subnet in small_space for subnet in subnets)
    assert all(small_space.subnet(small_space.values(subnet)) == subnet for subnet in subnets)


def test_sizes(tiny_space, per_block_space):
    assert tiny_space.size == 1536
    # mb1 has 2 or 2 ** 3 ways, mb2 4 or 4 ** 2.
    assert per_block_space.size == 2 * 2 * (2 + 8) * (4 + 16) * 2


def test_smallest_and_largest(tiny_space):
    assert tiny_space.values(tiny_space.smallest) == [16, 8, 8, 16, 32, 1, 1, 3, 3, 1, 4]
    assert tiny_space.values(tiny_space.largest) == [32, 16, 16, 24, 40, 2, 2, 5, 5, 1, 6]


def test_a_subnet_lists_the_blocks_that_run(per_block_space):
    smallest, largest = per_block_space.smallest, per_block_space.largest
    assert (smallest.kernel_size, smallest.expand_ratio) == (((3,), (3,), 3), ((1,), (4,), 2))
    assert (largest.kernel_size, largest.expand_ratio) == (((5, 5, 5), (5, 5), 5), ((1, 1, 1), (6, 6), 2))
    assert len(per_block_space.values(smallest)) == len(per_block_space.values(largest)) == len(per_block_space.genes)


def test_values_of_blocks_that_do_not_run_say_nothing(per_block_space):
    rng = Random(0)
    for _ in range(200):
        values = [rng.choice(gene.choices) for gene in per_block_space.genes]
        subnet = per_block_space.subnet(values)
        assert subnet in per_block_space
        expected = [
            value if gene.runs_in(subnet) else gene.choices[0]
            for gene, value in zip(per_block_space.genes, values, strict=True)
        ]
        assert per_block_space.values(subnet) == expected


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


def test_draws_in_a_space_of_block_choices_are_of_it(per_block_space):
    rng = Random(0)
    samples = [per_block_space.sample(rng) for _ in range(400)]
    mutants = [per_block_space.mutate(subnet, rng, 0.3) for subnet in samples]
    children = [per_block_space.crossover(a, b, rng) for a, b in zip(samples, mutants[::-1], strict=True)]
    assert all(subnet in per_block_space for subnet in samples + mutants + children)
    assert {subnet.depth for subnet in samples} == {(a, b, 1) for a in (1, 3) for b in (1, 2)}
    assert len({subnet.kernel_size[0] for subnet in samples}) == 2 + 8  # blocks are drawn apart from each other


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


@pytest.mark.parametrize('name', ['imagenet_space', 'per_block_space'])
def test_dict_round_trip(request, name):
    space = request.getfixturevalue(name)
    table = space.to_dict()
    again = SearchSpace.from_dict(table)
    assert again == space
    assert hash(again) == hash(space)
    assert again.to_dict() == table
    assert SearchSpace.from_dict(again) is again


def test_rows_of_a_space_build_the_same_space(tiny_space):
    again = SearchSpace(tiny_space.resolution, tiny_space.stem, tiny_space.stages, tiny_space.head)
    assert again == tiny_space


@pytest.mark.parametrize(('key', 'value'), [('stride', 1), ('se', False), ('per_block', True), ('width', [16])])
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


@pytest.mark.parametrize(
    ('gene', 'message'),
    [
        ({'kernel_size': (3, (3,), 3)}, r'kernel_size\[0\] \(mb1\) is 3; expected a list of 1, .*depth\[0\] is 1'),
        (
            {'kernel_size': ((3,), (3, 5), 3)},
            r'kernel_size\[1\] \(mb2\) is \[3, 5\]; expected a list of 1, .*every block',
        ),
        ({'depth': (3, 1, 1)}, r'kernel_size\[0\] \(mb1\) is \[3\]; expected a list of 3'),
        ({'depth': (2, 1, 1)}, r'depth\[0\] \(mb1\) is 2, .*\[1, 3\]'),
        ({'kernel_size': ((3,), (7,), 3)}, r'kernel_size\[1\]\[0\] \(mb2\) is 7, .*\[3, 5\]'),
        ({'depth': (1, 2, 1), 'kernel_size': ((3,), (3, 7), 3)}, r'kernel_size\[1\]\[1\] \(mb2\) is 7, .*\[3, 5\]'),
        ({'expand_ratio': ((1,), (5,), 2)}, r'expand_ratio\[1\]\[0\] \(mb2\) is 5, .*\[4, 6\]'),
        ({'kernel_size': ((3,), (3,), (3,))}, r'kernel_size\[2\] \(mb3\) is \[3\], .*choose one of \[3, 5\]'),
        ({'kernel_size': ((3,), (3,))}, 'kernel_size has 2 values, this search space needs 3'),
    ],
)
def test_validate_names_the_gene_of_a_block(per_block_space, gene, message):
    with pytest.raises(InputError, match=f'^mine.yaml: {message}'):
        per_block_space.validate(replace(per_block_space.smallest, **gene), source='mine.yaml')


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
        ('per_block', 1, 'mb2.per_block is 1; expected True or False'),
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
