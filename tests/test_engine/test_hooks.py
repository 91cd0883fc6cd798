"""Losses reach the log in their order, and are fetched no more often than it asks."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub

from mmrazor_bignas.engine import LossHook, hooks
from mmrazor_bignas.engine.runner import NASRunner
from mmrazor_bignas.errors import TrainingDiverged

INTERVAL, BATCHES = 3, 8


@pytest.fixture
def training(monkeypatch):
    """A runner on a device that works on while nobody asks, its hook, and the number of values fetched each time."""
    hook, fetched = LossHook(), []
    runner = SimpleNamespace(
        iter=0,
        epoch=0,
        max_epochs=1,
        max_iters=BATCHES,
        hooks=[hook, LoggerHook(interval=INTERVAL)],
    )
    runner.train_dataloader = type('Loader', (), {'dataset': None, '__len__': lambda self: BATCHES})()
    runner.message_hub = MessageHub('losses')
    monkeypatch.setattr(hooks, 'waiting_costs', lambda losses: True)
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda self: fetched.append(self.numel()) or tolist(self))
    hook.before_train(runner)
    return runner, hook, fetched


def step(runner, hook, value: float) -> None:
    hook.after_train_iter(
        runner, runner.iter, None, {'loss': torch.tensor(value), 'largest/loss': torch.tensor(-value)}
    )
    runner.iter += 1


def test_losses_are_fetched_once_per_interval_and_at_the_end_of_an_epoch(training):
    runner, hook, fetched = training
    for i in range(BATCHES):
        step(runner, hook, float(i))
    assert fetched == [2 * INTERVAL, 2 * INTERVAL, 2 * (BATCHES % INTERVAL)]
    values, counts = runner.message_hub.get_scalar('train/loss').data
    assert values.tolist() == list(map(float, range(BATCHES)))
    assert set(counts.tolist()) == {1}
    assert runner.message_hub.get_scalar('train/largest/loss').current() == 1.0 - BATCHES


def test_a_checkpoint_has_every_loss_of_its_past(training, monkeypatch):
    runner, hook, _ = training
    saved = []
    parent = NASRunner.__mro__[1]
    monkeypatch.setattr(
        parent, 'save_checkpoint', lambda self, name: saved.append(self.message_hub.get_scalar('train/loss').current())
    )
    step(runner, hook, 5.0)
    NASRunner.save_checkpoint(_as(NASRunner, runner), 'name')
    assert saved == [5.0]


def test_the_first_loss_that_is_no_number_is_named_and_nothing_is_saved(training, monkeypatch):
    runner, hook, _ = training
    saved = []
    monkeypatch.setattr(NASRunner.__mro__[1], 'save_checkpoint', lambda self, name: saved.append(name))
    for value in (1.0, float('nan'), 2.0):
        if runner.iter == 2:  # before the log asks
            with pytest.raises(TrainingDiverged, match=r'iteration 2: .*largest/loss'):
                NASRunner.save_checkpoint(_as(NASRunner, runner), 'name')
        else:
            step(runner, hook, value)
    assert not saved


def _as(cls: type, runner: SimpleNamespace):
    """The namespace, as an instance of a Runner that was never set up."""
    one = cls.__new__(cls)
    one._hooks, one.message_hub = runner.hooks, runner.message_hub
    return one
