import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrazor_bignas.kernels import slice_param
from mmrazor_bignas.models.dynamic_layers import (
    DynamicBatchNorm2d,
    DynamicConv2d,
    DynamicLinear,
    drop_path,
)
from mmrazor_bignas.search_space import ConvSpec


def test_slice_takes_first_channels_and_kernel_centre():
    weight = torch.arange(4 * 3 * 5 * 5).view(4, 3, 5, 5)
    assert torch.equal(slice_param(weight, (2, 1, 3, 3)), weight[:2, :1, 1:4, 1:4])


def test_slice_of_the_whole_is_the_same_tensor():
    weight = nn.Parameter(torch.randn(4, 3, 3, 3))
    assert slice_param(weight, (4, 3, 3, 3)) is weight


@pytest.mark.parametrize(
    ('small', 'large'),
    [
        (ConvSpec(3, 5), ConvSpec(8, 8)),
        (ConvSpec(6, 6, 3, 2, depthwise=True), ConvSpec(8, 8, 5, 2, depthwise=True)),
        (ConvSpec(4, 2, bias=True), ConvSpec(4, 8, bias=True)),
    ],
)
def test_conv_runs_a_smaller_conv(small, large):
    conv = DynamicConv2d(large)
    x = torch.randn(2, small.in_channels, 7, 7)
    margin = (large.kernel_size - small.kernel_size) // 2
    weight = conv.weight[: small.out_channels, : small.weight_shape[1]]
    weight = weight[:, :, margin : margin + small.kernel_size, margin : margin + small.kernel_size]
    bias = conv.bias[: small.out_channels] if small.bias else None
    expected = F.conv2d(x, weight, bias, small.stride, small.padding, groups=small.groups)
    out = conv(x, small)
    assert torch.equal(out, expected)
    assert out.shape[-1] == small.out_side(7)


def test_conv_gradient_reaches_the_slice_alone():
    conv = DynamicConv2d(ConvSpec(4, 4, 5))
    conv(torch.randn(2, 2, 6, 6), ConvSpec(2, 3, 3)).sum().backward()
    used = torch.zeros_like(conv.weight, dtype=torch.bool)
    used[:3, :2, 1:4, 1:4] = True
    assert torch.equal(conv.weight.grad != 0, used)


@pytest.mark.parametrize(('channels', 'momentum'), [(3, 0.1), (3, 0.0), (8, 0.0)])
def test_batch_norm_of_a_supernet_leaves_no_trace(channels, momentum):
    norm = DynamicBatchNorm2d(8, momentum=momentum).train()
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    x = torch.randn(4, channels, 3, 3) * 3 + 1
    out = norm(x)
    assert out.mean((0, 2, 3)).abs().max() < 1e-5
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


def test_whole_batch_norm_with_momentum_is_torchs():
    ours, torchs = DynamicBatchNorm2d(5), nn.BatchNorm2d(5)
    x = torch.randn(4, 5, 3, 3)
    assert torch.equal(ours.train()(x), torchs.train()(x))
    assert all(torch.equal(value, torchs.state_dict()[key]) for key, value in ours.state_dict().items())
    assert ours.num_batches_tracked == 1


def test_batch_norm_in_eval_mode_uses_the_first_statistics():
    norm = DynamicBatchNorm2d(8).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    small = nn.BatchNorm2d(3).eval()
    small.running_mean.copy_(norm.running_mean[:3])
    small.running_var.copy_(norm.running_var[:3])
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(norm(x), small(x))


def test_linear_uses_the_first_features():
    linear = DynamicLinear(6, 3)
    x = torch.randn(2, 4)
    assert torch.equal(linear(x), F.linear(x, linear.weight[:, :4], linear.bias))


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    out = drop_path(torch.ones(4000, 2, 3, 3), 0.25)
    per_sample = out.flatten(1)
    assert torch.equal(per_sample.min(1).values, per_sample.max(1).values)
    kept = per_sample[:, 0] > 0
    torch.testing.assert_close(per_sample[kept], torch.full_like(per_sample[kept], 1 / 0.75))
    assert 0.7 < kept.float().mean() < 0.8
    assert out.mean() == pytest.approx(1, abs=0.05)
