"""find_subnet: from what a user writes to the subnet."""

import pytest

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.search_space.lookup import NAMED_YAML, find_subnet


def test_names_of_the_extremes(tiny_space):
    assert find_subnet('min', tiny_space) == tiny_space.smallest
    assert find_subnet('max', tiny_space) == tiny_space.largest


@pytest.mark.parametrize(
    ('name', 'resolution', 'depth'),
    [
        ('attentivenas-a0', 192, (1, 3, 3, 3, 3, 3, 1)),
        ('attentivenas-a1', 224, (1, 3, 3, 3, 3, 3, 1)),
        ('attentivenas-a2', 224, (1, 3, 3, 3, 3, 4, 1)),
        ('attentivenas-a3', 224, (2, 3, 3, 4, 3, 5, 1)),
        ('attentivenas-a4', 256, (1, 3, 3, 4, 3, 5, 1)),
        ('attentivenas-a5', 256, (1, 3, 3, 3, 4, 6, 1)),
        ('attentivenas-a6', 288, (1, 3, 3, 4, 4, 6, 1)),
    ],
)
def test_published_names(imagenet_space, name, resolution, depth):
    subnet = find_subnet(name, imagenet_space)
    assert (subnet.resolution, subnet.depth) == (resolution, depth)


def test_a_subnet_a_dict_and_a_file_mean_the_same(tiny_space, tmp_path):
    subnet = tiny_space.largest
    path = tmp_path / 'mine.yaml'
    path.write_text(subnet.to_yaml())
    for mutable_cfg in (subnet, subnet.to_dict(), path, str(path)):
        assert find_subnet(mutable_cfg, tiny_space) == subnet


def test_a_file_without_suffix_is_read(tiny_space, tmp_path):
    path = tmp_path / 'mine'
    path.write_text(tiny_space.largest.to_yaml())
    assert find_subnet(str(path), tiny_space) == tiny_space.largest


# Bad input


@pytest.mark.parametrize('kind', ['subnet', 'dict', 'file'])
def test_a_subnet_of_another_space_is_refused(tiny_space, tmp_path, kind):
    rows = {**tiny_space.smallest.to_dict(), 'resolution': 17}
    path = tmp_path / 'mine.yaml'
    path.write_text(SubnetSpec.from_dict(rows).to_yaml())
    mutable_cfg = {'subnet': SubnetSpec.from_dict(rows), 'dict': rows, 'file': path}[kind]
    source = {'subnet': 'subnet', 'dict': 'subnet', 'file': str(path)}[kind]
    with pytest.raises(InputError) as error:
        find_subnet(mutable_cfg, tiny_space)
    assert str(error.value).startswith(f'{source}: resolution is 17')


def test_a_published_name_needs_its_space(tiny_space):
    with pytest.raises(InputError, match='attentivenas-a0: width has 9 values, this search space needs 4'):
        find_subnet('attentivenas-a0', tiny_space)


@pytest.mark.parametrize('mutable_cfg', ['attentivenas-a7', 'Min', 3, None, ['min']])
def test_what_is_accepted_is_said(tiny_space, mutable_cfg):
    with pytest.raises(InputError, match='mutable_cfg ') as error:
        find_subnet(mutable_cfg, tiny_space)
    assert repr(mutable_cfg) in str(error.value)
    assert all(name in str(error.value) for name in ('min', 'max', *NAMED_YAML))


def test_a_missing_file_is_named(tiny_space):
    with pytest.raises(InputError, match=r'nowhere/mine\.yaml: cannot read the subnet YAML'):
        find_subnet('nowhere/mine.yaml', tiny_space)


def test_a_dict_without_a_gene_is_refused(tiny_space):
    with pytest.raises(InputError, match="missing gene 'width'"):
        find_subnet({'resolution': 16}, tiny_space)
