"""Trainings on a GPU. What kernels compute is tested in this folder's other files, there too where there is one."""

import pytest
import torch
from kernel_cases import assert_same_step, losses_and_gradients, small_algorithm, train_step

from mmrazor_bignas.engine import BFloat16OptimWrapper, Float16OptimWrapper, OptimWrapper
from mmrazor_bignas.kernels.way import chosen_way, forget_choice

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')]
WRAPPERS = [OptimWrapper, BFloat16OptimWrapper, Float16OptimWrapper]


@pytest.fixture
def training(fused):
    """A function that makes a small training and runs its steps, whose batches are all of one size."""

    def begin(wrapper: type):
        algorithm = small_algorithm('cuda')
        wrapper = wrapper(torch.optim.SGD(algorithm.parameters(), lr=0.01))
        return lambda step: train_step(algorithm, wrapper, step, batch_size=8)

    return begin


def test_kernels_are_the_way_of_a_gpu(monkeypatch) -> None:
    monkeypatch.delenv('MMRAZOR_BIGNAS_KERNELS', raising=False)
    forget_choice()
    assert chosen_way() == 'fused'


@pytest.mark.usefixtures('fused', 'device')
@pytest.mark.parametrize('other', ['torch', 'nchw'])
@pytest.mark.parametrize(('wrapper', 'tolerance'), [(OptimWrapper, 1e-3), (BFloat16OptimWrapper, 0.05)])
def test_a_train_step_is_that_of_the_other_ways(use_way, wrapper, tolerance, other) -> None:
    ours = losses_and_gradients('cuda', wrapper)
    use_way(other)
    assert_same_step(ours, losses_and_gradients('cuda', wrapper), tolerance, tolerance)


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_new_subnets_compile_nothing(training, monkeypatch, wrapper) -> None:
    from triton.runtime.jit import JITFunction

    from mmrazor_bignas.kernels.triton_code import launch

    step = training(wrapper)
    step(0)
    compiled, compile_ = [], JITFunction._do_compile
    monkeypatch.setattr(
        JITFunction, '_do_compile', lambda self, *args: compiled.append(self.__name__) or compile_(self, *args)
    )
    subnets = set()
    for index in range(1, 5):
        launch._COMPILED.clear()  # so that Triton says whether it would compile anew
        subnets |= set(step(index)['subnets'].values())
    assert len(subnets) > 3
    assert compiled == []


@pytest.mark.parametrize('wrapper', WRAPPERS[:2])
def test_a_step_waits_for_nothing(training, wrapper) -> None:
    step = training(wrapper)
    step(0)  # every kernel's first result is compared with torch's
    torch.cuda.set_sync_debug_mode('error')
    try:
        for index in (1, 2):
            step(index)
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_a_training_is_the_same_every_time(training) -> None:
    losses = []
    for _ in range(2):
        step = training(BFloat16OptimWrapper)
        losses.append([float(step(index)['loss']) for index in range(3)])
    assert losses[0] == losses[1]
