"""resolve() and envelope(): every layer's integers."""

from dataclasses import replace
from random import Random

import pytest
from conftest import TINY_CLASSES

from mmrazor_bignas.search_space import (
    BlockSpec,
    ConvSpec,
    NetSpec,
    SearchSpace,
    envelope,
    make_divisible,
    network_layers,
    resolve,
)


def parts(net: NetSpec) -> dict[tuple, ConvSpec]:
    """Every convolution of a network by its place."""
    convs = {('stem',): net.stem, ('head_expand',): net.head_expand, ('head_mix',): net.head_mix}
    for i, stage in enumerate(net.stages):
        for j, block in enumerate(stage):
            reduce, expand = block.se or (None, None)
            convs |= {
                (i, j, 'expand'): block.expand,
                (i, j, 'depthwise'): block.depthwise,
                (i, j, 'reduce'): reduce,
                (i, j, 'excite'): expand,
                (i, j, 'project'): block.project,
                (i, j, 'shortcut'): block.shortcut,
            }
    return {place: conv for place, conv in convs.items() if conv is not None}


@pytest.mark.parametrize(
    ('value', 'expected'),
    # The nearest multiple of 8, at least 8; a step more where that is below 0.9 of the value (9, 11, 18 and 19).
    [(1, 8), (8, 8), (9, 16), (11, 16), (12, 16), (17, 16), (18, 24), (19, 24), (20, 24), (35, 32), (36, 40)],
)
def test_make_divisible(value, expected):
    assert make_divisible(value) == expected


@pytest.mark.parametrize(('kernel_size', 'stride', 'side', 'expected'), [(3, 2, 16, 8), (3, 2, 15, 8), (5, 1, 7, 7)])
def test_padding_keeps_the_side_at_stride_1(kernel_size, stride, side, expected):
    assert ConvSpec(8, 8, kernel_size, stride).out_side(side) == expected


def test_weight_shape():
    assert ConvSpec(16, 24, 3).weight_shape == (24, 16, 3, 3)
    assert ConvSpec(16, 16, 5, depthwise=True).weight_shape == (16, 1, 5, 5)


def test_every_integer_of_the_smallest_subnet(tiny_space):
    assert resolve(tiny_space, tiny_space.smallest) == NetSpec(
        resolution=16,
        stem=ConvSpec(3, 8, kernel_size=3, stride=2),
        stages=(
            (BlockSpec(None, ConvSpec(8, 8, 3, depthwise=True), None, ConvSpec(8, 8), None),),
            (
                BlockSpec(
                    expand=ConvSpec(8, 32),
                    depthwise=ConvSpec(32, 32, kernel_size=3, stride=2, depthwise=True),
                    se=(ConvSpec(32, 8, bias=True), ConvSpec(8, 32, bias=True)),
                    project=ConvSpec(32, 16),
                    shortcut=ConvSpec(8, 16),
                ),
            ),
        ),
        head_expand=ConvSpec(16, 96),
        head_mix=ConvSpec(96, 32),
    )


def test_later_blocks_of_the_largest_subnet(tiny_space):
    (_, later), (first, last) = resolve(tiny_space, tiny_space.largest).stages
    assert later == BlockSpec(None, ConvSpec(16, 16, 5, depthwise=True), None, ConvSpec(16, 16), None)
    assert (first.expand, first.shortcut, first.depthwise.stride) == (ConvSpec(16, 96), ConvSpec(16, 24), 2)
    assert last == BlockSpec(
        expand=ConvSpec(24, 144),
        depthwise=ConvSpec(144, 144, 5, depthwise=True),
        # 144 / 4 = 36, to the next multiple of 8.
        se=(ConvSpec(144, 40, bias=True), ConvSpec(40, 144, bias=True)),
        project=ConvSpec(144, 24),
        shortcut=None,
    )


@pytest.mark.parametrize(
    ('stem', 'stride', 'keeps_shape', 'has_shortcut_conv'),
    [(8, 1, True, False), (8, 2, False, False), (16, 1, False, True), (16, 2, False, True)],
)
def test_shortcut(tiny_rows, stem, stride, keeps_shape, has_shortcut_conv):
    tiny_rows['stages'][0]['stride'] = stride
    space = SearchSpace.from_dict({**tiny_rows, 'stem': [stem]})
    block = resolve(space, space.smallest).stages[0][0]
    assert (block.keeps_shape, block.shortcut is not None) == (keeps_shape, has_shortcut_conv)


def test_convs_are_every_part_at_its_side(tiny_space):
    net = resolve(tiny_space, tiny_space.largest)
    convs = [conv for layer in network_layers(net, TINY_CLASSES) for conv in layer.convs()]
    assert sorted(map(str, (conv for conv, _, _ in convs))) == sorted(map(str, parts(net).values()))
    # Stem and mb1 at half of 32; mb2 expands there, halves it; SE and the last convolution see one pixel.
    assert [side for _, side, _ in convs] == [16] * 5 + [16, 8, 1, 1, 8, 8] + [8, 8, 1, 1, 8] + [8, 1]
    # Batch normalisation follows all but SE, shortcuts and the last convolution.
    assert [conv for conv, _, has_bn in convs if not has_bn] == [
        *(conv for place, conv in parts(net).items() if {'reduce', 'excite', 'shortcut'} & set(place)),
        net.head_mix,
    ]


def test_blocks_that_choose_the_same_are_a_stage_that_chose_it(tiny_space, tiny_rows):
    for stage in tiny_rows['stages']:
        stage['per_block'] = True
    per_block = SearchSpace.from_dict(tiny_rows)
    assert envelope(per_block) == envelope(tiny_space)
    for subnet in tiny_space.enumerate():
        rows = {
            row: tuple((value,) * depth for value, depth in zip(getattr(subnet, row), subnet.depth, strict=True))
            for row in ('kernel_size', 'expand_ratio')
        }
        assert resolve(per_block, per_block.validate(replace(subnet, **rows))) == resolve(tiny_space, subnet)


def test_every_block_has_its_choices(per_block_space):
    subnet = replace(per_block_space.largest, kernel_size=((3, 5, 3), (5, 3), 3), expand_ratio=((1, 1, 1), (4, 6), 2))
    blocks = [block for stage in resolve(per_block_space, per_block_space.validate(subnet)).stages for block in stage]
    assert [block.depthwise.kernel_size for block in blocks] == [3, 5, 3, 5, 3, 3]
    assert [block.depthwise.stride for block in blocks] == [1, 1, 1, 2, 1, 1]
    assert [block.depthwise.in_channels for block in blocks] == [8, 16, 16, 16 * 4, 24 * 6, 24 * 2]


# The supernet


@pytest.mark.parametrize('width', [[16, 24], [16], [8]])
def test_envelope_holds_every_subnet_and_no_more(tiny_rows, width):
    """Each of its integers is the largest that some subnet has there, whatever shortcuts need a convolution."""
    tiny_rows['stages'][1]['width'] = width
    assert_envelope_is_tight(SearchSpace.from_dict(tiny_rows))


def test_envelope_where_blocks_choose_by_themselves(per_block_space):
    assert_envelope_is_tight(per_block_space)


def assert_envelope_is_tight(space):
    reached: dict[tuple, list[ConvSpec]] = {}
    for subnet in space.enumerate():
        for place, conv in parts(resolve(space, subnet)).items():
            reached.setdefault(place, []).append(conv)
    assert envelope(space).resolution == max(space.resolution)
    supernet = parts(envelope(space))
    assert supernet.keys() == reached.keys()
    for place, convs in reached.items():
        conv = supernet[place]
        for size in ('in_channels', 'out_channels', 'kernel_size'):
            assert getattr(conv, size) == max(getattr(c, size) for c in convs), (place, size)
        for kind in ('stride', 'depthwise', 'bias'):
            assert {getattr(c, kind) for c in convs} == {getattr(conv, kind)}, (place, kind)


def test_random_subnets_fit_the_envelope(imagenet_space):
    supernet = parts(envelope(imagenet_space))
    rng = Random(0)
    for subnet in [imagenet_space.smallest, imagenet_space.largest, *(imagenet_space.sample(rng) for _ in range(100))]:
        for place, conv in parts(resolve(imagenet_space, subnet)).items():
            assert conv.in_channels <= supernet[place].in_channels, place
            assert conv.out_channels <= supernet[place].out_channels, place
            assert conv.kernel_size <= supernet[place].kernel_size, place
            assert conv.stride == supernet[place].stride, place


def test_envelope_has_shortcuts_that_the_largest_subnet_lacks(imagenet_space):
    """Stem 16 to mb1 24 and 24 to 16 need one, 24 to 24 does not."""
    assert resolve(imagenet_space, imagenet_space.largest).stages[0][0].shortcut is None
    assert envelope(imagenet_space).stages[0][0].shortcut == ConvSpec(24, 24)
