import pytest
import torch
import torch.nn.functional as F
from kernel_cases import (
    DTYPES,
    NEAR,
    Operations,
    assert_near,
    assert_same_twice,
    features,
    many_splits,
    numbers,
    triton_code,
)

from mmrazor_bignas.kernels import depthwise_conv2d
from mmrazor_bignas.kernels.block_sizes import BLOCK_SIZES, Blocks, moment_tiles
from mmrazor_bignas.kernels.depthwise import (
    plain_forward,
    plain_input_gradient,
    plain_moments,
    plain_weight_gradient,
)

# (N, C, H, W), kernel size, stride
CASES = [
    ((2, 24, 9, 7), 3, 1),
    ((2, 40, 8, 8), 3, 2),
    ((1, 20, 4, 6), 5, 1),
    ((2, 24, 7, 6), 5, 2),
    ((1, 16, 6, 5), 7, 1),
    ((2, 8, 7, 5), 7, 2),
    ((2, 8, 1, 2), 5, 2),
]


def a_case(shape, size, stride, dtype, device) -> tuple[torch.Tensor, ...]:
    """Features, a weight that is a slice, and the gradient of the output."""
    n, channels, height, width = shape
    weight = numbers(channels + 5, 1, size + 2, size + 2, seed=1).to(device)[:channels, :, 1:-1, 1:-1]
    grad = features(n, channels, -(-height // stride), -(-width // stride), dtype=dtype, device=device, seed=2)
    return features(*shape, dtype=dtype, device=device), weight, grad


def ours(x, weight, grad, stride) -> tuple[torch.Tensor, ...]:
    code = triton_code('depthwise')
    return (
        code.forward(x, weight, stride)[0],
        code.input_gradient(grad, x, weight, stride),
        code.weight_gradient(grad, x, weight, stride),
    )


def twins(x, weight, grad, stride) -> tuple[torch.Tensor, ...]:
    return (
        plain_forward(x, weight, stride)[0],
        plain_input_gradient(grad, x, weight, stride),
        plain_weight_gradient(grad, x, weight, stride),
    )


def torchs(x, weight, grad, stride) -> tuple[torch.Tensor, ...]:
    x, weight = (one.detach().double().requires_grad_() for one in (x, weight))
    out = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, x.shape[1])
    return out, *torch.autograd.grad(out, (x, weight), grad.double())


@pytest.mark.parametrize(
    ('shape', 'size', 'stride', 'splits'),
    [*((*case, 'one') for case in CASES), *((*case, 'many') for case in CASES[::2])],
)
def test_it_is_torch_s_convolution(monkeypatch, device, shape, size, stride, splits) -> None:
    if splits == 'many':
        many_splits(monkeypatch)
    x, weight, grad = a_case(shape, size, stride, torch.float32, device)
    results = ours(x, weight, grad, stride)
    assert_near(results, torchs(x, weight, grad, stride), 2e-6)
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in results[:2])


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(('shape', 'size', 'stride'), [CASES[0], CASES[3]])
def test_formats_of_16_bits_are_rounded_once(device, shape, size, stride, dtype) -> None:
    x, weight, grad = a_case(shape, size, stride, dtype, device)
    results = ours(x, weight, grad, stride)
    assert [one.dtype for one in results] == [dtype, dtype, torch.float32]
    out, input_gradient, weight_gradient = torchs(x, weight, grad, stride)
    assert_near(results[:2], (out, input_gradient), NEAR[dtype])
    assert_near(results[2], weight_gradient, 2e-6)
    assert_near(results, twins(x, weight, grad, stride), 2 * NEAR[dtype])


def test_any_number_of_channels(monkeypatch, device) -> None:
    many_splits(monkeypatch)
    for channels in (1, 15, 17):
        x, weight, grad = a_case((2, channels, 4, 5), 3, 1, torch.float32, device)
        assert_near(ours(x, weight, grad, 1), torchs(x, weight, grad, 1), 2e-6)


@pytest.mark.parametrize('dtype', DTYPES[:2])
def test_moments_are_those_of_what_was_written(monkeypatch, device, dtype) -> None:
    many_splits(monkeypatch)
    x, weight, _ = a_case((2, 20, 9, 7), 3, 1, dtype, device)
    weight = torch.zeros_like(weight)
    weight[:, :, 1, 1] = 1
    out, moments = triton_code('depthwise').forward(x + 1000, weight, 1)  # far from 0
    parts = out.double().permute(0, 2, 3, 1).flatten(0, 2).split(moment_tiles(out).rows_per_split)
    assert len(parts) > 3
    assert len(parts[-1]) < len(parts[0])
    assert_near(moments[:, 0], torch.stack([part.mean(0) for part in parts]), 1e-6)
    assert_near(moments[:, 1], torch.stack([part.var(0, correction=0) * len(part) for part in parts]), 1e-4)
    assert_near(moments, plain_moments(out), 1e-4)
    assert_near(plain_moments(out.double()), plain_moments(out), 1e-4)


def test_parts_of_moments_may_be_others_in_another_format(monkeypatch) -> None:
    monkeypatch.setitem(BLOCK_SIZES, 'depthwise', {2: Blocks(16, 16, 2), 4: Blocks(32, 16, 2)})
    for dtype, parts in ((torch.float32, 4), (torch.bfloat16, 8), (torch.float64, 4)):
        assert plain_moments(numbers(2, 4, 9, 7).to(dtype)).shape == (parts, 2, 4)


def test_gradients_of_zero_are_zero(device) -> None:
    x, weight, grad = a_case((2, 20, 5, 5), 5, 1, torch.float32, device)
    for result in ours(x, weight, torch.zeros_like(grad), 1)[1:]:
        assert torch.equal(result, torch.zeros_like(result))


def test_results_are_the_same_every_time(monkeypatch, device) -> None:
    many_splits(monkeypatch)
    assert_same_twice(lambda: ours(*a_case((2, 20, 7, 5), 3, 2, torch.bfloat16, device), 2))


@pytest.mark.usefixtures('fused')
def test_a_training_runs_the_kernels(device) -> None:
    x, weight, grad = a_case((2, 24, 9, 7), 3, 2, torch.float32, device)
    expected = torchs(x, weight, grad, 2)
    x, weight = x.requires_grad_(), weight.detach().requires_grad_()
    with Operations() as operations:
        out = depthwise_conv2d(x, weight, None, (2, 2), 1)
        gradients = torch.autograd.grad(out, (x, weight), grad)
    name = 'depthwise_conv2d'
    assert operations.ours == [name, f'{name}_input_gradient', f'{name}_weight_gradient']
    assert_near((out, *gradients), expected, 2e-6)


@pytest.mark.usefixtures('fused')
def test_what_the_kernels_cannot_do_is_torch_s(device) -> None:
    x, weight, _ = a_case((2, 24, 9, 7), 3, 1, torch.float32, device)
    weight, bias = weight.detach().requires_grad_(), torch.ones(24, device=device)
    for options in ((bias, (1, 1), 1), (None, (1, 2), 1), (None, (1, 1), 0)):
        out = depthwise_conv2d(x, weight, *options)
        assert torch.equal(out, F.conv2d(x, weight, *options, 1, 24))
    with torch.no_grad():
        assert torch.equal(depthwise_conv2d(x, weight, None, (1, 1), 1), F.conv2d(x, weight, None, 1, 1, 1, 24))
