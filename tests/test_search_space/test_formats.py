"""Subnets as MMRazor and AttentiveNAS write them."""

from random import Random

import pytest
import yaml

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SubnetSpec, estimate, resolve
from mmrazor_bignas.search_space.formats import WRITERS
from mmrazor_bignas.search_space.lookup import NAMED_YAML, find_subnet

A0 = SubnetSpec.from_yaml(NAMED_YAML['attentivenas-a0'])

# MMRazor's files ATTENTIVE_SUBNET_A*.yaml for A3, A5 and A6, which are other subnets than the published ones:
# resolution, stem and head, then width, depth, kernel size and expand ratio of each stage; and their multiply-adds.
SHIPPED = {
    'A3': (
        224, 16, 1984,
        [(16, 2, 3, 1), (24, 3, 3, 4), (32, 3, 3, 4), (64, 4, 3, 4), (112, 3, 5, 4), (208, 5, 3, 6), (224, 1, 3, 6)],
        357.3,
    ),
    'A5': (
        256, 16, 1792,
        [(16, 1, 3, 1), (24, 3, 3, 4), (32, 3, 3, 5), (64, 3, 5, 4), (112, 4, 3, 4), (192, 6, 3, 6), (224, 1, 3, 6)],
        485.1,
    ),
    'A6': (
        288, 16, 1984,
        [(24, 1, 3, 1), (32, 3, 3, 4), (40, 3, 3, 6), (72, 4, 3, 5), (128, 4, 3, 4), (216, 6, 5, 6), (224, 1, 3, 6)],
        897.4,
    ),
}  # fmt: skip


def mmrazor_text(resolution, stem, head, stages):
    """The text of a file as MMRazor ships it."""
    lines = [f'backbone.first_channels:\n  chosen: {stem}', f'backbone.last_channels:\n  chosen: {head}']
    for i, (width, depth, kernel_size, expand_ratio) in enumerate(stages, start=1):
        lines += [
            f'backbone.layers.{i}.kernel_size:\n  chosen: {kernel_size}',
            f'backbone.layers.{i}.expand_ratio:\n  chosen: {expand_ratio}',
            f'backbone.layers.{i}.depth:\n  chosen: {depth}',
            f'backbone.layers.{i}.out_channels:\n  chosen: {width}',
        ]
    lines.append(f'input_shape:\n  chosen:\n  - {resolution}\n  - {resolution}')
    return '\n'.join(lines) + '\n'


@pytest.mark.parametrize('name', SHIPPED)
def test_what_mmrazor_ships_loads_as_what_it_says(name, imagenet_space, tmp_path):
    resolution, stem, head, stages, mflops = SHIPPED[name]
    path = tmp_path / f'ATTENTIVE_SUBNET_{name}.yaml'
    path.write_text(mmrazor_text(resolution, stem, head, stages))
    subnet = find_subnet(path, imagenet_space)
    widths, depths, kernels, ratios = zip(*stages, strict=True)
    assert subnet == SubnetSpec(resolution, (stem, *widths, head), depths, kernels, ratios)
    assert estimate(resolve(imagenet_space, subnet), 1000).flops / 1e6 == pytest.approx(mflops, abs=0.05)
    assert subnet != find_subnet(f'attentivenas-{name.lower()}', imagenet_space)


def test_mmrazors_a0_is_the_published_one():
    stages = zip(A0.width[1:-1], A0.depth, A0.kernel_size, A0.expand_ratio, strict=True)
    text = mmrazor_text(A0.resolution, A0.width[0], A0.width[-1], stages)
    assert SubnetSpec.from_dict(yaml.safe_load(text)) == A0


def test_attentivenas_dict_with_its_label(tmp_path):
    path = tmp_path / 'a0.yml'
    for text in (
        "{'net_id': 'a0', 'resolution': 192, 'width': [16, 16, 24, 32, 64, 112, 192, 216, 1792], "
        "'depth': [1, 3, 3, 3, 3, 3, 1], 'kernel_size': [3, 3, 3, 3, 3, 3, 3], 'expand_ratio': [1, 4, 4, 4, 4, 6, 6]}",
        'model: "attentive_nas_a0"\n' + A0.to_yaml(),
    ):
        path.write_text(text)
        assert SubnetSpec.from_yaml(path) == A0


@pytest.mark.parametrize('form', WRITERS)
def test_every_form_is_read_back(form, imagenet_space, tmp_path):
    rng = Random(0)
    path = tmp_path / 'subnet.yaml'
    for subnet in [imagenet_space.smallest, imagenet_space.largest, *(imagenet_space.sample(rng) for _ in range(20))]:
        path.write_text(subnet.to_yaml(form))
        assert SubnetSpec.from_yaml(path) == subnet


def test_block_choices_in_every_form_that_has_them(per_block_space, tmp_path):
    path = tmp_path / 'subnet.yaml'
    for subnet in (per_block_space.smallest, per_block_space.largest):
        for form in ('mmrazor_bignas', 'attentivenas'):
            path.write_text(subnet.to_yaml(form))
            assert SubnetSpec.from_yaml(path) == subnet
        with pytest.raises(InputError, match=r"^kernel_size\[0\] is \[.*\]; MMRazor's form has one value per stage"):
            subnet.to_yaml('mmrazor')


def test_the_forms_are_those_of_the_projects():
    mmrazor = yaml.safe_load(A0.to_yaml('mmrazor'))
    assert len(mmrazor) == 4 * 7 + 3
    assert mmrazor['backbone.layers.6.out_channels'] == {'chosen': 192}
    assert mmrazor['input_shape'] == {'chosen': [192, 192]}
    assert eval(A0.to_yaml('attentivenas')) == A0.to_dict()


# Bad input


def changed(**changes):
    rows = yaml.safe_load(A0.to_yaml('mmrazor'))
    for alias, value in changes.items():
        alias = alias.replace('__', '.')
        rows.pop(alias, None) if value is None else rows.update({alias: value})
    return rows


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'input_shape': None}, "MMRazor's subnet has no 'input_shape'"),
        ({'backbone__layers__3__depth': None}, "has no 'backbone.layers.3.depth'"),
        ({'backbone__layers__9__depth': {'chosen': 1}}, "has no 'backbone.layers.8.out_channels'"),
        ({'neck__width': {'chosen': 1}}, "unknown mutable 'neck.width'"),
        ({'backbone__first_channels': 16}, 'backbone.first_channels is 16; expected MMRazor'),
        ({'input_shape': {'chosen': [192, 224]}}, r'input_shape is \[192, 224\]; expected a square'),
        ({'input_shape': {'chosen': [192] * 3}}, r'input_shape is \[192, 192, 192\]; expected a square'),
        ({'input_shape': {'chosen': []}}, r'input_shape is \[\]; expected a square'),
        ({'backbone__layers__3__depth': {'chosen': 'deep'}}, r"depth is \[1, 3, 'deep'"),
    ],
)
def test_a_broken_mmrazor_subnet_is_refused(changes, message):
    with pytest.raises(InputError, match=f'mine.yaml: .*{message}'):
        SubnetSpec.from_dict(changed(**changes), source='mine.yaml')


def test_a_subnet_of_another_space_names_the_gene(imagenet_space, tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(changed(backbone__layers__5__out_channels={'chosen': 136})))
    with pytest.raises(InputError, match=r'mine.yaml: width\[5\] \(mb5\) is 136, outside .* \[112, 120, 128\]'):
        find_subnet(path, imagenet_space)


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match=r"form is 'ofa'; expected one of \['mmrazor_bignas'"):
        A0.to_yaml('ofa')
