"""The training loop: where it leaves, and where it goes on."""

import os
import signal

import pytest
from killed_runs import digits_config, train_here
from mmengine.hooks import Hook

from mmrazor_bignas.engine.resume import find_resume_point
from mmrazor_bignas.engine.runner import build_runner, load_config
from mmrazor_bignas.engine.signals import Stopped
from mmrazor_bignas.errors import InputError


def train(folder, work, hooks=(), resume=None, **options):
    return train_here(digits_config(folder), work, hooks, resume, **options)


class At(Hook):
    def __init__(self, step, do):
        self.step, self.do = step, do

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter >= self.step:
            self.do()


def term():
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_checkpoint_resumed_from_is_not_moved_aside(tmp_path):
    work = tmp_path / 'out'
    with pytest.raises(Stopped):
        train(tmp_path, work, [At(9, term)])

    def die():
        raise KeyError('killed before the first save')

    options = {'train_dataloader.batch_size': 4, 'optim_wrapper.accumulative_counts': 4}
    with pytest.raises(KeyError):
        train(tmp_path, work, [At(0, die)], work / 'iter_10.pth', **options)
    assert find_resume_point(work)[0] is not None


def test_a_signal_that_came_before_validation_does_not_wait_for_it(tmp_path):
    seen = []

    class Late(Hook):
        priority = 'LOWEST'  # after the epoch's checkpoint

        def after_train_epoch(self, runner):
            term()

        def before_val_epoch(self, runner):
            seen.append(1)

    with pytest.raises(Stopped):
        train(tmp_path, tmp_path / 'out', [Late()], **{'train_cfg.val_interval': 1})
    assert seen == []


def test_a_step_with_accumulation_is_not_saved_half(tmp_path):
    options = {'optim_wrapper.accumulative_counts': 4, 'default_hooks.checkpoint.by_epoch': False}
    options |= {'default_hooks.checkpoint.interval': 3, 'train_cfg.max_epochs': 1}
    with pytest.raises(InputError, match='interval is 3, but a step has 4 batches'):
        train(tmp_path, tmp_path / 'a', **options)


def test_a_loop_over_iterations_is_refused(tmp_path):
    cfg = load_config(str(digits_config(tmp_path)), {}, str(tmp_path / 'out'))
    cfg.train_cfg = dict(by_epoch=False, max_iters=10)
    with pytest.raises(InputError, match='by_epoch is False; training here goes by epochs'):
        build_runner(cfg).train()
