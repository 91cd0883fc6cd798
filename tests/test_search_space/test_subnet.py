"""SubnetSpec: a value, to dict and YAML and back."""

import json
from dataclasses import replace
from random import Random

import pytest

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import ROWS, SubnetSpec

A3 = SubnetSpec(
    resolution=224,
    width=(16, 16, 24, 32, 64, 112, 208, 224, 1984),
    depth=(2, 3, 3, 4, 3, 5, 1),
    kernel_size=(3, 3, 3, 5, 3, 3, 3),
    expand_ratio=(1, 4, 4, 4, 4, 6, 6),
)
A3_YAML = """\
resolution: 224
width: [16, 16, 24, 32, 64, 112, 208, 224, 1984]
depth: [2, 3, 3, 4, 3, 5, 1]
kernel_size: [3, 3, 3, 5, 3, 3, 3]
expand_ratio: [1, 4, 4, 4, 4, 6, 6]
"""


def test_yaml_is_one_line_per_row():
    assert A3.to_yaml() == A3_YAML


def test_dict_is_plain():
    assert A3.to_dict() == {
        'resolution': 224,
        'width': [16, 16, 24, 32, 64, 112, 208, 224, 1984],
        'depth': [2, 3, 3, 4, 3, 5, 1],
        'kernel_size': [3, 3, 3, 5, 3, 3, 3],
        'expand_ratio': [1, 4, 4, 4, 4, 6, 6],
    }


def test_dict_round_trip(small_space):
    for subnet in small_space.enumerate():
        again = SubnetSpec.from_dict(json.loads(json.dumps(subnet.to_dict())))  # as in a history
        assert again == subnet
        assert hash(again) == hash(subnet)


def test_yaml_round_trip(imagenet_space, tmp_path):
    rng = Random(0)
    path = tmp_path / 'subnet.yaml'
    for subnet in [imagenet_space.smallest, imagenet_space.largest, *(imagenet_space.sample(rng) for _ in range(20))]:
        path.write_text(subnet.to_yaml())
        assert SubnetSpec.from_yaml(path) == SubnetSpec.from_yaml(str(path)) == subnet


def test_yaml_of_blocks_that_choose_by_themselves(per_block_space, tmp_path):
    path = tmp_path / 'subnet.yaml'
    subnet = replace(per_block_space.largest, kernel_size=((3, 5, 3), (5, 3), 5))
    path.write_text(subnet.to_yaml())
    assert path.read_text().splitlines()[3:] == [
        'kernel_size: [[3, 5, 3], [5, 3], 5]',
        'expand_ratio: [[1, 1, 1], [6, 6], 2]',
    ]
    assert per_block_space.validate(SubnetSpec.from_yaml(path)) == subnet


def test_what_was_read_is_a_value():
    rows = A3.to_dict()
    subnet = SubnetSpec.from_dict(dict(reversed(rows.items())))
    rows['width'][0] = 24
    assert {A3: 'known'}[subnet] == 'known'


# Bad input


@pytest.mark.parametrize('gene', ROWS)
def test_a_missing_gene_is_named(gene):
    rows = A3.to_dict()
    del rows[gene]
    with pytest.raises(InputError, match=f"^mine.yaml: missing gene '{gene}'.*'resolution', 'width', 'depth'"):
        SubnetSpec.from_dict(rows, source='mine.yaml')


def test_an_unknown_gene_is_named():
    with pytest.raises(InputError, match=r"^mine.yaml: unknown gene 'kernel'.*'kernel_size'"):
        SubnetSpec.from_dict({**A3.to_dict(), 'kernel': [3]}, source='mine.yaml')


@pytest.mark.parametrize('value', [True, 224.0, '224', None, [224]])
def test_resolution_is_an_integer(value):
    with pytest.raises(InputError, match=r'^mine.yaml: resolution is .*; expected an integer'):
        SubnetSpec.from_dict({**A3.to_dict(), 'resolution': value}, source='mine.yaml')


@pytest.mark.parametrize(
    'value', [3, '333', None, [3, True], [3, 3.0], [3, '3'], [3, None], [[]], [[[3]]], [[True]], {3: 3}]
)
@pytest.mark.parametrize('gene', ROWS[1:])
def test_other_genes_are_lists_of_integers(gene, value):
    with pytest.raises(InputError, match=f'^mine.yaml: {gene} is .*; expected a list of integers'):
        SubnetSpec.from_dict({**A3.to_dict(), gene: value}, source='mine.yaml')


@pytest.mark.parametrize('gene', ['width', 'depth'])
def test_only_blocks_choose_by_themselves(gene):
    with pytest.raises(InputError, match=rf'^mine.yaml: {gene} is \[\[3\]\]; expected a list of integers$'):
        SubnetSpec.from_dict({**A3.to_dict(), gene: [[3]]}, source='mine.yaml')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'width: [16', 'not a YAML file'),
        (b'\xff\xfe\x00\x81', 'not a YAML file'),
        (b'\x00', 'not a YAML file'),
        (b'resolution: 2024-99-99', 'not a YAML file'),
        (b'', 'expected a mapping .*found NoneType'),
        (b'- 224', 'expected a mapping .*found list'),
        (A3_YAML.replace('depth', 'depths').encode(), "missing gene 'depth'"),
    ],
)
def test_a_file_without_a_subnet_is_named(tmp_path, content, message):
    path = tmp_path / 'mine.yaml'
    path.write_bytes(content)
    with pytest.raises(InputError, match=f'mine.yaml: {message}'):
        SubnetSpec.from_yaml(path)


def test_a_gene_that_is_given_twice_is_named(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(A3_YAML + 'depth: [1]\n')
    with pytest.raises(InputError, match=r"mine\.yaml, line 6: the key 'depth' is given twice, first in line 3"):
        SubnetSpec.from_yaml(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r'none\.yaml: cannot read the subnet YAML: No such file'):
        SubnetSpec.from_yaml(tmp_path / 'none.yaml')
    with pytest.raises(InputError, match='cannot read the subnet YAML: Is a directory'):
        SubnetSpec.from_yaml(tmp_path)
