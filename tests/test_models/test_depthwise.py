import pytest
import torch
import torch.nn.functional as F

from mmrazor_bignas.kernels import depthwise_conv2d
from mmrazor_bignas.kernels.depthwise_cpu import ON_X86


def case(kernel: int = 5, side: tuple[int, int] = (9, 7), channels: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(3, channels, *side).to(memory_format=torch.channels_last).requires_grad_()
    return x, torch.randn(channels, 1, kernel, kernel, requires_grad=True)


def gradients(y: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return torch.autograd.grad(y, (x, weight), torch.randn_like(y))


@pytest.mark.parametrize('kernel', [3, 5])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('side', [(9, 7), (4, 4), (1, 2), (12, 16)])
def test_it_is_torch_s_convolution_and_so_are_its_gradients(kernel, stride, side) -> None:
    x, weight = case(kernel, side)
    y = depthwise_conv2d(x, weight, None, (stride, stride), kernel // 2)
    expected = F.conv2d(x, weight, None, stride, kernel // 2, 1, x.shape[1])
    assert torch.equal(y, expected)
    for ours, theirs in zip(gradients(y, x, weight), gradients(expected, x, weight), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not ON_X86, reason='the CPU has no need of it')
@pytest.mark.parametrize('stride', [1, 2])
def test_the_weight_gradient_of_5x5_never_takes_the_slow_kernel(capfd, stride) -> None:
    x, weight = case()
    y = depthwise_conv2d(x, weight, None, (stride, stride), 2)
    with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        gradients(y, x, weight)
    kernels = [line for line in capfd.readouterr().out.splitlines() if 'backward_weights' in line]
    assert kernels
    assert all('jit_dw:avx' in line for line in kernels), kernels


@pytest.mark.parametrize('kernel', [3, 5, 7])
@pytest.mark.parametrize('height', [1, 2, 5])
def test_in_bfloat16_the_weight_gradient_of_narrow_maps_holds_nothing_of_old_memory(kernel, height) -> None:
    x, weight = case(kernel, (height, 1), 24)
    rounded = [one.detach().bfloat16().float().requires_grad_() for one in (x, weight)]
    y = F.conv2d(*rounded, None, 2, kernel // 2, 1, 24)
    grad = torch.randn_like(y).bfloat16()
    expected = torch.autograd.grad(y, rounded, grad.float())
    for _ in range(3):
        old = [torch.full((size,), 3e20, dtype=torch.bfloat16) for size in (256, 512, 2048, 4096) for _ in range(8)]
        del old  # leaves memory that is not clean
        with torch.autocast('cpu', torch.bfloat16):
            y = depthwise_conv2d(x, weight, None, (2, 2), kernel // 2)
        assert y.dtype == torch.bfloat16
        for ours, theirs in zip(torch.autograd.grad(y, (x, weight), grad), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_slices_and_frozen_weights() -> None:
    x, weight = case(channels=24)
    part = weight[:16]
    y = depthwise_conv2d(x[:, :16].contiguous(memory_format=torch.channels_last), part, None, (1, 1), 2)
    (grad,) = torch.autograd.grad(y.sum(), weight)
    assert grad[:16].abs().sum() > 0
    assert not grad[16:].any()
    frozen = weight.detach()
    y = depthwise_conv2d(x, frozen, None, (1, 1), 2)
    expected = F.conv2d(x, frozen, None, 1, 2, 1, 24)
    for ours, theirs in zip(torch.autograd.grad(y.sum(), x), torch.autograd.grad(expected.sum(), x), strict=True):
        torch.testing.assert_close(ours, theirs)
