import pytest
import torch
import torch.nn.functional as F
from kernel_cases import DTYPES, NEAR, assert_near, assert_same_twice, features, many_splits, numbers, triton_code

from mmrazor_bignas.kernels import batch_norm_act
from mmrazor_bignas.kernels.batch_norm import plain_backward, plain_forward
from mmrazor_bignas.models.dynamic_layers import DynamicBatchNorm2d

EPS = 1e-5
SHAPES = [(2, 24, 9, 7), (1, 20, 5, 10), (3, 40, 6, 6), (2, 7, 2, 2)]
VARIANTS = [(True, False), (False, True), (False, False), (True, True)]  # act, added


def a_case(shape, adds, dtype, device) -> tuple[torch.Tensor | None, ...]:
    """Features; weight and bias, slices of larger ones; what is added; the gradient of the output."""
    x, added, grad = (features(*shape, dtype=dtype, device=device, seed=seed) for seed in range(3))
    weight, bias = ((numbers(shape[1] + 3, seed=seed) + 1).to(device)[: shape[1]] for seed in (3, 4))
    return x, weight, bias, added if adds else None, grad


def ours(x, weight, bias, added, grad, act) -> tuple[torch.Tensor, ...]:
    code = triton_code('batch_norm')
    out, mean, var = code.forward(x, weight, bias, added, None, EPS, act)
    return out, mean, var, *code.backward(grad, x, weight, bias, mean, var, EPS, act)


def twins(x, weight, bias, added, grad, act) -> tuple[torch.Tensor, ...]:
    out, mean, var = plain_forward(x, weight, bias, added, None, EPS, act)
    return out, mean, var, *plain_backward(grad, x, weight, bias, mean, var, EPS, act)


def torchs(x, weight, bias, added, grad, act) -> tuple[torch.Tensor, ...]:
    x, weight, bias = (one.detach().double().requires_grad_() for one in (x, weight, bias))
    out = F.batch_norm(x, None, None, weight, bias, training=True, eps=EPS)
    out = F.silu(out) if act else out
    out = out if added is None else out + added
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return out, mean, var, *torch.autograd.grad(out, (x, weight, bias), grad.double())


@pytest.mark.parametrize('splits', ['one', 'many'])
@pytest.mark.parametrize(('shape', 'variant'), zip(SHAPES, VARIANTS, strict=True))
def test_it_is_torch_s_batch_norm_swish_and_addition(monkeypatch, device, shape, variant, splits) -> None:
    if splits == 'many':
        many_splits(monkeypatch)
    act, adds = variant
    case = a_case(shape, adds, torch.float32, device)
    results = ours(*case, act)
    assert_near(results, torchs(*case, act), 5e-6)
    assert_near(twins(*case, act), torchs(*case, act), 5e-6)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('variant', VARIANTS[:2])
def test_formats_of_16_bits_are_rounded_once(device, dtype, variant) -> None:
    act, adds = variant
    case = a_case(SHAPES[0], adds, dtype, device)
    results, expected = ours(*case, act), torchs(*case, act)
    assert [one.dtype for one in results] == [dtype, *[torch.float32] * 2, dtype, *[torch.float32] * 2]
    for index, (one, other) in enumerate(zip(results, expected, strict=True)):
        assert_near(one, other, NEAR[dtype] if index in (0, 3) else 5e-6)
    assert_near(results, twins(*case, act), 2 * NEAR[dtype])


def test_the_variance_is_right_far_from_zero(monkeypatch, device) -> None:
    many_splits(monkeypatch)
    x, *others = a_case((2, 24, 9, 7), False, torch.float32, device)
    x = x + 1000
    results, expected = ours(x, *others, True), torchs(x, *others, True)
    assert_near(results[1], expected[1], 1e-6)
    assert_near(results[2], expected[2], 1e-4)
    assert_near(results, expected, 1e-3)


def test_one_channel_far_from_the_others_does_not_hide_them(device) -> None:
    x, *others = a_case((2, 8, 5, 5), False, torch.float32, device)
    x[:, 3] = x[:, 3] * 100 - 3000
    for channel in range(8):
        one, other = ours(x, *others, False)[0][:, channel], torchs(x, *others, False)[0][:, channel]
        assert_near(one, other, 1e-4)


def test_a_constant_channel_gives_its_bias_and_finite_gradients(device) -> None:
    x, weight, bias, _, grad = a_case((2, 8, 5, 5), False, torch.float32, device)
    x[:, 2] = 7.0
    out, _, var, *gradients = ours(x, weight, bias, None, grad, False)
    assert float(var[2]) == 0
    torch.testing.assert_close(out[:, 2], bias[2].expand_as(out[:, 2]), rtol=0, atol=1e-3)
    assert all(bool(one.isfinite().all()) for one in gradients)


def test_gradients_of_zero_are_zero(device) -> None:
    *case, grad = a_case((2, 20, 5, 5), False, torch.float32, device)
    for result in ours(*case, torch.zeros_like(grad), True)[3:]:
        assert torch.equal(result, torch.zeros_like(result))


def test_results_are_the_same_every_time(monkeypatch, device) -> None:
    many_splits(monkeypatch)
    assert_same_twice(lambda: ours(*a_case((2, 20, 5, 7), True, torch.bfloat16, device), True))


def test_more_splits_than_are_added_up_at_once(monkeypatch, device) -> None:
    many_splits(monkeypatch)
    code = triton_code('batch_norm')
    monkeypatch.setattr(code, 'SPLITS_AT_ONCE', 2)
    case = a_case((3, 8, 9, 7), False, torch.float32, device)
    assert_near(ours(*case, True), torchs(*case, True), 5e-6)


@pytest.mark.parametrize('dtype', DTYPES[:2])
def test_moments_of_a_depthwise_convolution_stand_for_the_first_reading(monkeypatch, device, dtype) -> None:
    many_splits(monkeypatch)
    code, depthwise = triton_code('batch_norm'), triton_code('depthwise')
    x, weight, bias, added, _ = a_case((2, 20, 9, 7), True, dtype, device)
    x, moments = depthwise.forward(x, numbers(20, 1, 3, 3, seed=5).to(device), 1)
    monkeypatch.setattr(code, 'partial_moments', None)
    results = code.forward(x, weight, bias, added, moments, EPS, True)
    assert_near(results, plain_forward(x, weight, bias, added, None, EPS, True), 2 * NEAR[dtype])


@pytest.mark.parametrize('momentum', [0.1, None])
def test_a_layer_s_statistics_move_as_torch_s(device, use_way, momentum) -> None:
    x = features(2, 8, 5, 7, dtype=torch.float32, device=device)
    layers = []
    for way in ('fused', 'torch'):
        use_way(way)
        layer = DynamicBatchNorm2d(8, momentum=momentum).to(device).train()
        for _ in range(2):
            layer(x)
        layers.append(layer)
    for one, other in zip(layers[0].buffers(), layers[1].buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_one_value_per_channel_is_refused_as_by_torch(device) -> None:
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        batch_norm_act(torch.ones(1, 4, 1, 1, device=device), torch.ones(4), torch.ones(4), None, EPS, False)
