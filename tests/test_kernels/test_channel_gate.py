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

from mmrazor_bignas.kernels import squeeze_excite
from mmrazor_bignas.kernels.channel_gate import plain_backward, plain_forward

SHAPES = [((2, 24, 9, 7), 8), ((1, 20, 5, 10), 5), ((3, 40, 6, 6), 17), ((17, 7, 1, 1), 3)]  # and what is squeezed


def a_case(shape, squeezed, dtype, device) -> tuple[torch.Tensor, ...]:
    """Features; weights and biases, slices of larger ones; the gradient of the output."""
    x, grad = (features(*shape, dtype=dtype, device=device, seed=seed) for seed in range(2))
    channels = shape[1]
    shapes = (squeezed + 2, channels + 3, 1, 1), (squeezed + 1,), (channels + 1, squeezed + 2, 1, 1), (channels + 1,)
    reduce, reduce_bias, expand, expand_bias = (numbers(*shape, seed=i).to(device) for i, shape in enumerate(shapes, 2))
    # A mean over many pixels is small: factors that open and close gates to any degree.
    reduce, expand = 4 * reduce[:squeezed, :channels], expand[:channels, :squeezed]
    return x + 0.3, reduce, reduce_bias[:squeezed], expand, 2 * expand_bias[:channels], grad


def ours(x, reduce, reduce_bias, expand, expand_bias, grad, code=None) -> tuple[torch.Tensor, ...]:
    forward, backward = code or (triton_code('channel_gate').forward, triton_code('channel_gate').backward)
    out, *inner = forward(x, reduce, reduce_bias, expand, expand_bias)
    return out, *backward(grad, x, reduce, expand, *inner)


def twins(*case) -> tuple[torch.Tensor, ...]:
    return ours(*case, code=(plain_forward, plain_backward))


def torchs(*case) -> tuple[torch.Tensor, ...]:
    *case, grad = case
    x, *weights = case = [one.detach().double().requires_grad_() for one in case]
    reduce, reduce_bias, expand, expand_bias = weights
    gate = F.conv2d(F.relu(F.conv2d(F.adaptive_avg_pool2d(x, 1), reduce, reduce_bias)), expand, expand_bias)
    out = x * F.hardsigmoid(gate)
    return out, *torch.autograd.grad(out, case, grad.double())


@pytest.mark.parametrize('splits', ['one', 'many'])
@pytest.mark.parametrize(('shape', 'squeezed'), SHAPES)
def test_it_is_torch_s_pooling_two_layers_and_a_product(monkeypatch, device, shape, squeezed, splits) -> None:
    if splits == 'many':
        many_splits(monkeypatch)
    case = a_case(shape, squeezed, torch.float32, device)
    expected = torchs(*case)
    assert all(bool(one.any()) for one in expected)
    assert_near(ours(*case), expected, 5e-6)
    assert_near(twins(*case), expected, 5e-6)


@pytest.mark.parametrize('dtype', DTYPES)
def test_formats_of_16_bits_are_rounded_where_torch_rounds(device, dtype) -> None:
    case = a_case(*SHAPES[0], dtype, device)
    results, expected = ours(*case), torchs(*case)
    assert [one.dtype for one in results] == [dtype, dtype, *[torch.float32] * 4]
    assert_near(results, expected, 5 * NEAR[dtype])
    assert_near(results, twins(*case), 5 * NEAR[dtype])


def test_closed_and_open_gates_have_no_gradient(device) -> None:
    x, reduce, reduce_bias, expand, expand_bias, grad = a_case((2, 8, 5, 5), 4, torch.float32, device)
    expand_bias = torch.full_like(expand_bias, -1000.0)
    expand_bias[:4] = 1000.0
    out, of_x, *of_weights = ours(x, reduce, reduce_bias, expand, expand_bias, grad)
    assert torch.equal(out[:, :4], x[:, :4])
    assert torch.equal(of_x[:, :4], grad[:, :4])
    assert not bool(out[:, 4:].any() or of_x[:, 4:].any())
    assert not any(bool(one.any()) for one in of_weights)


def test_gradients_of_zero_are_zero(device) -> None:
    *case, grad = a_case((2, 20, 5, 5), 5, torch.float32, device)
    for result in ours(*case, torch.zeros_like(grad))[1:]:
        assert torch.equal(result, torch.zeros_like(result))


def test_results_are_the_same_every_time(monkeypatch, device) -> None:
    many_splits(monkeypatch)
    assert_same_twice(lambda: ours(*a_case((2, 24, 9, 7), 8, torch.bfloat16, device)))


@pytest.mark.usefixtures('fused')
def test_a_training_runs_the_kernels_and_inference_does_not(device) -> None:
    *case, grad = a_case((2, 24, 5, 5), 8, torch.float32, device)
    expected = torchs(*case, grad)
    case = [one.detach().requires_grad_() for one in case]
    with Operations() as operations:
        out = squeeze_excite(*case)
        gradients = torch.autograd.grad(out, case, grad)
        assert operations.ours == ['squeeze_excite', 'squeeze_excite_backward']
        with torch.no_grad():
            assert_near(squeeze_excite(*case), expected[0], 5e-6)
        assert len(operations.ours) == 2
    assert_near((out, *gradients), expected, 5e-6)
