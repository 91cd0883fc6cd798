"""The course of a training, over all runs that it was made of, and its figure."""

import json

import cv2
import numpy as np
import pytest
from killed_runs import digits_config, train_here
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmrazor_bignas.commands import plot_training
from mmrazor_bignas.engine import LearningCurveHook
from mmrazor_bignas.engine.learning_curve import draw_learning_curve, read_training_log, running_mean, series
from mmrazor_bignas.errors import InputError


def logged(folder, *lines: dict, cut: str = '') -> None:
    (folder / 'vis_data').mkdir(parents=True)
    (folder / 'vis_data/scalars.json').write_text(''.join(f'{json.dumps(line)}\n' for line in lines) + cut)


def train(step: int, loss: float = 1.0) -> dict:
    return {'iter': step, 'epoch': 1 + step // 10, 'step': step, 'largest/loss': loss, 'lr': 0.1}


def val(step: int, top1: float = 50.0) -> dict:
    return {'min/accuracy/top1': top1, 'step': step}


def test_a_later_run_counts_from_where_it_goes_on(tmp_path):
    logged(tmp_path / '20250101_000000', train(5), train(10), val(10), train(15), train(20), val(20), cut='{"lo')
    logged(tmp_path / '20250102_000000')  # killed at once
    logged(tmp_path / '20250103_000000', train(15, loss=9.0), train(20, loss=8.0), val(20, 70.0), train(25, loss=7.0))
    logged(tmp_path / '20250104_000000', val(20, 75.0), train(25, loss=6.0))  # validates again
    logged(tmp_path / '20250105_000000', {'best/accuracy/top1': 99.0, 'step': 0})  # a search
    log = read_training_log(tmp_path)
    assert series(log.train, 'largest/loss') == ([5, 10, 15, 20, 25], [1.0, 1.0, 9.0, 8.0, 6.0])
    assert series(log.val, 'min/accuracy/top1') == ([10, 20], [50.0, 75.0])


def test_a_new_training_in_the_same_place_begins_anew(tmp_path):
    logged(tmp_path / '1', train(5), train(10), val(10))
    logged(tmp_path / '2', train(5, loss=4.0))
    log = read_training_log(tmp_path)
    assert series(log.train, 'largest/loss') == ([5], [4.0])
    assert log.val == []


def test_no_training(tmp_path):
    logged(tmp_path / '1', val(0))
    with pytest.raises(InputError, match='no training was logged here'):
        read_training_log(tmp_path)


@pytest.mark.parametrize('window', [1, 2, 3, 10])
def test_running_means_keep_what_is_constant_and_the_length(window):
    assert np.allclose(running_mean([3.0] * 7, window), 3.0)
    values = np.arange(50.0)
    means = running_mean(values, window)
    assert len(means) == 50
    inner = slice(window, -window)
    assert np.allclose(means[inner], values[inner] + (0.5 if window % 2 == 0 else 0.0))
    assert len(running_mean([], window)) == 0


def test_every_subnet_is_drawn_with_numbers_that_are_finite(tmp_path):
    steps = [train(step) | {'grad_norm': 1.0, 'random1/loss': 2.0, 'random1/top1': 5.0} for step in range(1, 200)]
    logged(tmp_path / '1', *steps, train(200, loss=float('nan')), val(200))
    figure = draw_learning_curve(read_training_log(tmp_path))
    losses, accuracies, validation, schedule, norm = figure.axes
    lines = {line.get_label(): line for line in losses.lines}
    assert {'largest', 'random1'} <= set(lines)
    assert list(lines['largest'].get_xdata()) == list(range(1, 200))
    assert [axes.lines[0].get_label() for axes in (accuracies, validation)] == ['random1', 'min']
    assert list(schedule.lines[0].get_ydata()) == [0.1] * 200
    assert len(norm.lines) == 2  # smoothed, and as it is


class Stop(Hook):
    def after_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyError('killed')


def test_a_resumed_training_ends_with_the_whole_curve(tmp_path):
    config = digits_config(tmp_path, epochs=2, extra="custom_hooks = [dict(type='mmrazor_bignas.LearningCurveHook')]\n")
    work, options = tmp_path / 'out', {'default_hooks.logger.interval': 2, 'train_cfg.val_interval': 1}
    with pytest.raises(KeyError):
        train_here(config, work, [Stop()], **options)
    assert not (work / 'learning_curve.png').exists()
    runner = train_here(config, work, resume=work / 'epoch_1.pth', **options)
    image = cv2.imread(str(work / 'learning_curve.png'))
    assert image.std() > 10
    log = read_training_log(work)
    steps = [line['step'] for line in log.train]
    assert steps == sorted(set(steps))
    assert [line['step'] for line in log.val] == [runner.iter // 2, runner.iter]
    assert {'max/accuracy/top1', 'min/accuracy/top1', 'random1/accuracy/top1'} <= set(log.val[0])
    assert steps[:2] == [2, 4]
    assert steps[-1] > runner.iter - 2

    out = tmp_path / 'a/again.png'
    plot_training.main(plot_training.build_parser().parse_args([str(work), '--out', str(out)]))
    assert (cv2.imread(str(out)) == image).all()


def test_the_end_of_a_training_does_not_need_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr('mmrazor_bignas.engine.hooks.find_spec', lambda name: None)
    runner = StandIn(tmp_path)
    hook = HOOKS.build({'type': 'mmrazor_bignas.LearningCurveHook'})
    hook.before_train(runner)
    hook.after_train(runner)
    assert runner.warnings == ['learning_curve.png needs matplotlib: pip install mmrazor_bignas[demo]']


def test_a_picture_that_cannot_be_drawn_is_a_warning(tmp_path):
    runner, hook = StandIn(tmp_path), LearningCurveHook()
    hook.before_train(runner)
    hook.after_train(runner)
    (warning,) = runner.warnings
    assert 'learning_curve.png could not be drawn: InputError' in warning


class StandIn:
    """What of a Runner the hook needs; keeps the warnings."""

    def __init__(self, work_dir) -> None:
        self.work_dir, self.logger, self.warnings = str(work_dir), self, []

    def warning(self, text: str) -> None:
        self.warnings.append(text)
