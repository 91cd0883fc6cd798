import copy

import pytest
import torch
import torch.nn.functional as F
from kernel_cases import Operations, assert_near, numbers, triton_code
from torch import nn

from mmrazor_bignas.kernels import StepWeights, slice_param, slices
from mmrazor_bignas.kernels.slicing import add_gradients, add_together, plain_add

# Stem, depthwise weight, pointwise weight, 1-d weight, linear layer, one that no pass uses. And the parts that passes
# take of them: the whole, a part of each, another part.
PARAMS = [(8, 3, 3, 3), (8, 1, 5, 5), (6, 8, 1, 1), (6,), (5, 6), (4, 4)]
PASSES = [
    [(8, 3, 3, 3), (8, 1, 5, 5), (6, 8, 1, 1), (6,), (5, 6)],
    [(4, 3, 3, 3), (4, 1, 3, 3), (3, 4, 1, 1), (3,), (5, 3)],
    [(6, 3, 3, 3), (6, 1, 5, 5), (6, 6, 1, 1), (6,), (5, 6)],
]
LAYOUT = {'memory_format': torch.channels_last}


@pytest.fixture(params=['fused', 'torch'])
def way(request, use_way) -> None:
    use_way(request.param)


def parameters(device: str) -> list[nn.Parameter]:
    params = [numbers(*shape, seed=seed).to(device) for seed, shape in enumerate(PARAMS)]
    params[0] = params[0].contiguous(**LAYOUT)
    return [nn.Parameter(param) for param in params]


def network(params, shapes, images) -> torch.Tensor:
    stem, depthwise = (slices((params[i], shapes[i]), cast=i == 0)[0] for i in range(2))
    x = F.conv2d(images, stem, padding=1)
    x = F.conv2d(x, depthwise.to(x.dtype), padding=depthwise.shape[-1] // 2, groups=len(depthwise)).relu()
    pointwise, scale = slices((params[2], shapes[2]), (params[3], shapes[3]), cast=True)
    x = F.conv2d(x, pointwise).mean((2, 3)) * scale
    (linear,) = slices((params[4], shapes[4]), cast=True)
    return F.linear(x, linear).square().mean()


def images(device: str) -> torch.Tensor:
    return numbers(2, 3, 5, 5, seed=7).to(device).contiguous(**LAYOUT)


def step(params, exchanged: bool, device: str) -> None:
    weights = StepWeights(params)
    for shapes in PASSES:
        with weights.one_pass(exchanged):
            loss = network(params, shapes, images(device))
            if not exchanged:
                weights.add_gradients_of(loss)
        loss.backward()


def plain_step(params, device: str) -> None:
    for shapes in PASSES:
        network(params, shapes, images(device)).backward()


def assert_same_gradients(ours, theirs, tolerance: float = 1e-6) -> None:
    for one, other in zip(ours, theirs, strict=True):
        if other.grad is None:
            assert one.grad is None
        else:
            assert one.grad.dtype == other.grad.dtype
            assert_near(one.grad, other.grad, tolerance)


def test_a_part_is_the_first_channels_and_the_centre_of_the_kernel() -> None:
    param = numbers(6, 4, 5, 5)
    assert torch.equal(slice_param(param, (3, 2, 3, 3)), param[:3, :2, 1:-1, 1:-1])
    assert slice_param(param, param.shape) is param
    trained = param.clone().requires_grad_()
    part = slice_param(trained, (3, 2, 3, 3))
    assert torch.equal(part, param[:3, :2, 1:-1, 1:-1])
    (grad,) = torch.autograd.grad(part.sum(), trained)
    assert float(grad.sum()) == part.numel()
    view = param[1:, 1:]
    assert torch.equal(slice_param(view, (2, 2, 1, 1)), view[:2, :2, 2:3, 2:3])


@pytest.mark.usefixtures('way')
@pytest.mark.parametrize('exchanged', [True, False])
def test_a_step_s_slices_have_the_gradients_of_plain_ones(device, exchanged) -> None:
    ours, theirs = parameters(device), parameters(device)
    step(ours, exchanged, device)
    plain_step(theirs, device)
    assert ours[-1].grad is None
    assert_same_gradients(ours, theirs)
    assert ours[0].grad.stride() == ours[0].stride()


@pytest.mark.usefixtures('way')
@pytest.mark.parametrize('exchanged', [True, False])
def test_gradients_that_were_not_cleared_are_added_to(device, exchanged) -> None:
    ours, theirs = parameters(device), parameters(device)
    for _ in range(2):
        step(ours, exchanged, device)
        plain_step(theirs, device)
    assert_same_gradients(ours, theirs)


@pytest.mark.usefixtures('way')
def test_the_smallest_pass_first_and_a_frozen_parameter(device) -> None:
    ours, theirs = parameters(device), parameters(device)
    for params in (ours, theirs):
        params[2].requires_grad_(False)
    weights = StepWeights(ours)
    for shapes in PASSES[::-1]:
        with weights.one_pass(False):
            loss = network(ours, shapes, images(device))
        weights.add_gradients_of(loss)
        loss.backward()
        network(theirs, shapes, images(device)).backward()
    assert ours[2].grad is None
    assert_same_gradients(ours, theirs)


@pytest.mark.usefixtures('way')
def test_the_parameters_gradients_share_nothing_with_each_other(device) -> None:
    params = parameters(device)
    step(params, False, device)
    before = [None if param.grad is None else param.grad.clone() for param in params]
    params[3].grad.fill_(7)
    for index, (param, grad) in enumerate(zip(params, before, strict=True)):
        assert index == 3 or grad is None or torch.equal(param.grad, grad)


@pytest.mark.usefixtures('way')
@pytest.mark.parametrize('exchanged', [True, False])
def test_under_autocast_weights_are_cast_once_a_step_and_gradients_are_float32(device, exchanged) -> None:
    ours, theirs = parameters(device), parameters(device)
    with torch.autocast(device, torch.bfloat16), Operations() as operations:
        step(ours, exchanged, device)
    assert operations.all.count('aten::_foreach_copy_') == 1
    with torch.autocast(device, torch.bfloat16):
        plain_step(theirs, device)
    assert all(param.grad is None or param.grad.dtype == torch.float32 for param in ours)
    assert_same_gradients(ours, theirs, 0.01)


def test_a_copy_of_a_weight_is_made_once(device) -> None:
    params = parameters(device)
    weights = StepWeights(params)
    copies = [weights.in_format(params[0], torch.bfloat16) for _ in range(2)]
    assert copies[0] is copies[1]
    assert (copies[0].dtype, copies[0].stride()) == (torch.bfloat16, params[0].stride())
    assert weights.in_format(params[0], torch.float32) is params[0]
    assert weights.in_format(params[0], None) is params[0]


def test_without_gradients_slices_are_plain(device) -> None:
    params = parameters(device)
    with torch.no_grad():
        expected = network(params, PASSES[1], images(device))
        with StepWeights(params).one_pass(False):
            assert torch.equal(network(params, PASSES[1], images(device)), expected)
    assert all(param.grad is None for param in params)


def test_a_step_s_weights_are_used_within_it_only(device) -> None:
    params = parameters(device)
    weights = StepWeights(params)
    with pytest.raises(ZeroDivisionError), weights.one_pass(False):
        raise ZeroDivisionError
    (part,) = slices((params[4], (2, 3)))
    assert part.grad_fn.name().startswith('Slice')  # torch's own
    for exchanged, leaf in ((False, True), (True, False)):
        with weights.one_pass(exchanged):
            (part,) = slices((params[4], (2, 3)))
        assert (part.requires_grad, part.is_leaf) == (True, leaf)


def test_a_step_keeps_no_gradient_of_a_slice(device) -> None:
    params = parameters(device)
    weights, parts = StepWeights(params), []
    with weights.one_pass(False):
        parts += slices((params[4], (2, 3)), (params[3], (6,)))
        loss = sum(part.sum() for part in parts)
        weights.add_gradients_of(loss)
    loss.backward()
    assert [part.grad for part in parts] == [None, None]
    assert [float(params[i].grad.sum()) for i in (4, 3)] == [6, 6]


def addition(device: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Parts of float32 tensors and what is added to them, of all formats, sizes and layouts."""
    large = [
        numbers(70, 33, seed=1),
        numbers(9, 4, 5, 5, seed=2),
        numbers(50, seed=3),
        numbers(12, 10, 3, 3, seed=4).contiguous(**LAYOUT),
        numbers(3, 1, 1, 1, seed=5),
        numbers(4, 5, 6, seed=6),
    ]
    shapes = [(65, 33), (7, 3, 3, 3), (49,), (12, 9, 3, 3), (3, 1, 1, 1), (4, 5, 6)]
    formats = [torch.bfloat16, torch.float32, torch.float16, torch.float32, torch.bfloat16, torch.float32]
    addends = [numbers(*shape, seed=9 + i).to(device, formats[i]) for i, shape in enumerate(shapes)]
    addends[0] = addends[0].t().contiguous().t()
    addends[1] = addends[1].contiguous(**LAYOUT)
    addends[5] = addends[5][:, :, :1].expand(4, 5, 6)
    return [one.to(device) for one in large], addends


def test_the_kernel_adds_as_torch_does_and_nowhere_else(device) -> None:
    ours, addends = addition(device)
    theirs = copy.deepcopy(ours)
    for large, add in ((ours, triton_code('add_parts').add), (theirs, plain_add)):
        parts = tuple(slice_param(one, addend.shape) for one, addend in zip(large, addends, strict=True))
        assert add(parts, addends) is parts
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.usefixtures('way')
def test_gradients_of_several_parts_of_one_parameter_are_added_up(device) -> None:
    param = nn.Parameter(torch.zeros(4, 6, device=device))
    whole, part = torch.ones(4, 6, device=device), torch.ones(2, 3, device=device).bfloat16()
    for _ in range(2):
        # The whole may become the parameter's gradient itself.
        add_gradients([(param, (2, 3), part), (param, (4, 6), whole.clone())], add_together)
    expected = torch.full((4, 6), 2.0, device=device)
    expected[:2, :3] += 2
    assert torch.equal(param.grad, expected)
