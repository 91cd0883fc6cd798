"""The training loop: where it leaves, and where it goes on."""

import os
import signal
from pathlib import Path

import pytest
import torch
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


def numbers(runner) -> dict[str, list[float]]:
    """All that was logged, but times."""
    scalars = runner.message_hub.log_scalars.items()
    return {name: buffer.data[0].tolist() for name, buffer in scalars if 'time' not in name}


def test_a_seed_gives_the_same_numbers_twice(tmp_path):
    runs = []
    for i in range(2):
        torch.manual_seed(i)  # what was drawn before does not matter
        runs.append(train(tmp_path, tmp_path / f'out{i}', **{'train_cfg.max_epochs': 1, 'randomness.seed': 3}))
    first, second = map(numbers, runs)
    assert {'train/smallest/loss', 'train/smallest/top1', 'train/grad_norm', 'val/random1/accuracy/top1'} <= set(first)
    assert len(first['train/grad_norm']) == runs[0].iter
    assert first == second
    assert len(set(first['train/loss'])) == runs[0].iter
    weights, again = (run.model.state_dict() for run in runs)
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


def val_loop(folder, name: str, **options):
    cfg = load_config(str(digits_config(folder)), {f'val_cfg.{key}': value for key, value in options.items()})
    cfg.work_dir, cfg.experiment_name = str(folder / name), str(folder / name)
    return build_runner(cfg).val_loop


def test_random_subnets_of_the_validation_are_functions_of_its_seed(tmp_path):
    first, second = (val_loop(tmp_path, name, num_random=2) for name in 'ab')
    assert list(first.subnets) == ['min', 'max', 'random1', 'random2']
    assert first.subnets == second.subnets
    assert first.subnets['random1'] != val_loop(tmp_path, 'c', num_random=2, seed=1).subnets['random1']
    log = next(Path(first.runner.log_dir).glob('*.log')).read_text()
    assert f'random2 is {first.subnets["random2"].to_dict()}' in log
    with pytest.raises(InputError, match='num_random is -1; expected 0 or more'):
        val_loop(tmp_path, 'd', num_random=-1)


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
