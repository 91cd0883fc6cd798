import pytest
import torch
import torch.nn.functional as F

from mmrazor_bignas.models.blocks import MBConv, SqueezeExcite
from mmrazor_bignas.search_space import BlockSpec, ConvSpec


def block_spec(in_width: int, width: int, stride: int) -> BlockSpec:
    return BlockSpec(
        expand=ConvSpec(in_width, 16),
        depthwise=ConvSpec(16, 16, 3, stride, depthwise=True),
        se=None,
        project=ConvSpec(16, width),
        shortcut=ConvSpec(in_width, width) if in_width != width else None,
    )


@pytest.mark.parametrize('side', [6, 7])
@pytest.mark.parametrize(('in_width', 'width'), [(4, 4), (4, 6)])
@pytest.mark.parametrize('stride', [1, 2])
def test_a_new_block_is_its_shortcut(in_width, width, stride, side):
    spec = block_spec(in_width, width, stride)
    block = MBConv(spec, bn_momentum=0.1).eval()
    x = torch.randn(2, in_width, side, side)
    expected = x
    if stride == 2:  # padding counts as zeros in the average where the side is odd
        expected = F.avg_pool2d(F.pad(x, [side % 2] * 4), 2, 2)
    if in_width != width:
        expected = F.conv2d(expected, block.shortcut.weight)
    torch.testing.assert_close(block(x, spec, drop=False), expected)


def test_no_activation_after_the_addition():
    spec = block_spec(4, 4, 1)
    out = MBConv(spec, bn_momentum=0.1).eval()(-torch.ones(1, 4, 4, 4), spec, drop=False)
    assert torch.equal(out, -torch.ones(1, 4, 4, 4))


@pytest.mark.parametrize(
    ('in_width', 'stride', 'training', 'drop', 'acts'),
    [
        (4, 1, True, True, True),
        (4, 1, True, False, False),
        (4, 1, False, True, False),
        (4, 2, True, True, False),
        (6, 1, True, True, False),
    ],
)
def test_drop_path_acts_on_shape_keeping_blocks_when_told(in_width, stride, training, drop, acts):
    spec = block_spec(in_width, 4, stride)
    block = MBConv(spec, bn_momentum=0.0, drop_path_rate=0.5).train(training)
    torch.nn.init.ones_(block.project.bn.weight)
    x = torch.randn(8, in_width, 4, 4)
    torch.manual_seed(1)
    outs = [block(x, spec, drop=drop) for _ in range(4)]
    assert any(not torch.equal(outs[0], out) for out in outs[1:]) == acts


def test_squeeze_excite_gates_channels_by_a_hard_sigmoid():
    specs = ConvSpec(4, 2, bias=True), ConvSpec(2, 4, bias=True)
    se = SqueezeExcite(specs)
    x = torch.randn(2, 4, 5, 5)
    pooled = x.mean((2, 3), keepdim=True)
    hidden = F.relu(F.conv2d(pooled, se.reduce.weight, se.reduce.bias))
    gate = F.relu6(F.conv2d(hidden, se.expand.weight, se.expand.bias) + 3) / 6
    torch.testing.assert_close(se(x, specs), x * gate)
