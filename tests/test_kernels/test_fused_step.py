import pytest
from kernel_cases import assert_same_step, losses_and_gradients

from mmrazor_bignas.engine import BFloat16OptimWrapper, OptimWrapper
from mmrazor_bignas.kernels import block_sizes
from mmrazor_bignas.kernels.block_sizes import Blocks


@pytest.fixture
def _few_programs(monkeypatch, device) -> None:
    """Of as much as a tensor has: Triton's interpreter takes milliseconds for each, whatever it does."""
    if device == 'cpu':
        for name in block_sizes.BLOCK_SIZES:
            blocks = Blocks(64, 64, 4, 1)
            monkeypatch.setitem(block_sizes.BLOCK_SIZES, name, {2: blocks, 4: blocks})


@pytest.mark.usefixtures('fused', '_few_programs')
@pytest.mark.parametrize(
    ('wrapper', 'of_losses', 'of_gradients'),
    [(OptimWrapper, 1e-5, 1e-4), pytest.param(BFloat16OptimWrapper, 0.01, 0.05, marks=pytest.mark.slow)],
)
def test_a_train_step_by_kernels_is_torch_s(device, use_way, wrapper, of_losses, of_gradients) -> None:
    ours = losses_and_gradients(device, wrapper)
    use_way('torch')
    theirs = losses_and_gradients(device, wrapper)
    if device == 'cuda' and wrapper is OptimWrapper:
        of_losses, of_gradients = 1e-3, 1e-3
    assert_same_step(ours, theirs, of_losses, of_gradients)
