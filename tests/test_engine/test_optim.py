"""The schedule of the published recipe."""

import copy

import parity
import pytest
import torch
from conftest import ROOT
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from tiny_imagenet import SUPERNET

from mmrazor_bignas.engine import LinearWarmupLR
from mmrazor_bignas.engine.runner import load_config

GOLDEN = dict(parity.META['lr_warmup_cosine_base0.8_max1000_warm50'])


def rates(epochs, length):
    """The learning rate of every iteration under the supernet's schedule, cut to so many epochs of so many batches."""
    cfg = load_config(ROOT / SUPERNET)
    schedule = copy.deepcopy(cfg.param_scheduler)
    assert [(s.type.rpartition('.')[2], s.end) for s in schedule] == [('LinearWarmupLR', 5), ('CosineAnnealingLR', 360)]
    schedule[1].update(T_max=epochs, end=epochs)
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr))
    loop = type('Loop', (), {'max_epochs': epochs, 'dataloader': range(length)})()
    holder = type('Holder', (Runner,), {'train_loop': loop, '__init__': lambda self: None})()
    holder.optim_wrapper, holder._train_loop = wrapper, loop
    schedulers = holder.build_param_scheduler(schedule)
    found = []
    for _ in range(epochs * length):
        found.append(wrapper.get_lr()['lr'][0])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


def test_learning_rates_are_the_published_ones():
    found = rates(epochs=100, length=10)
    assert len(GOLDEN) == 11
    assert (GOLDEN[1000], len(found)) == (0, 1000)  # after the last iteration
    for iteration, rate in list(GOLDEN.items())[:-1]:
        assert found[iteration] == pytest.approx(rate, rel=1e-9)


def test_the_warm_up_starts_at_its_begin():
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    scheduler = LinearWarmupLR(wrapper, start_factor=0.5, begin=2, end=4, by_epoch=False)
    found = []
    for _ in range(7):
        found.append(wrapper.get_lr()['lr'][0])
        wrapper.step()
        scheduler.step()
    assert found == pytest.approx([1, 1, 0.5, 0.75, 1, 1, 1])
