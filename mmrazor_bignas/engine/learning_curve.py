"""The course of a training, from the log in its work dir, and its figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmrazor_bignas.engine.plots import load_pyplot
from mmrazor_bignas.engine.search_plots import literal
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import parse_json

CURVE_FILE = 'learning_curve.png'
# A subnet has one colour in all panels, whatever it is called there.
COLOURS = {'largest': 'C0', 'max': 'C0', 'smallest': 'C1', 'min': 'C1', 'random1': 'C2', 'random2': 'C3'}
SMOOTHED_SHARE = 0.02  # of the training, in a running mean

Lines = list[dict[str, float]]


class TrainingLog(NamedTuple):
    """What was logged, in the order of the iterations.

    Attributes:
        train: A mapping ``name -> number`` per line of the log; ``step`` is the iteration.
        val: The same per validation; ``step`` is the iteration before it.
    """

    train: Lines
    val: Lines


def read_training_log(work_dir: str | Path) -> TrainingLog:
    """Read what the runs of a training logged, one after the other.

    A resumed training logs into a new folder of its work dir. What it logged counts from there on: the run before may
    have gone further than its last checkpoint.

    Raises:
        InputError: Nothing was logged there.
    """
    train: Lines = []
    val: Lines = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):  # the folders are named after their start
        lines = list(_lines(path))
        trained = [line for line in lines if 'iter' in line]
        validated = [line for line in lines if 'iter' not in line and line['step'] > 0]  # a search is at iteration 0
        if begin := min((line['step'] for line in trained), default=None):
            train = [line for line in train if line['step'] < begin] + trained
        if begin := min((line['step'] for line in [*trained, *validated]), default=None):
            val = [line for line in val if line['step'] < begin] + validated
    if not train:
        raise InputError(f'{work_dir}: no training was logged here; expected */vis_data/scalars.json with its losses')
    return TrainingLog(train, val)


def draw_learning_curve(log: TrainingLog):
    """Losses and accuracies of every subnet, learning rate and norm of the gradients against the iteration."""
    pyplot = load_pyplot()
    figure, grid = pyplot.subplots(2, 2, figsize=(11, 7), layout='constrained')
    (losses, accuracies), (validation, schedule) = grid
    for axes, metric, title in ((losses, 'loss', 'training loss'), (accuracies, 'top1', 'training accuracy, %')):
        for name in _subnets_with(metric, log.train):
            _draw_smoothed(axes, *series(log.train, f'{name}/{metric}'), label=name, color=COLOURS.get(name))
        axes.set_title(title)
    metric = next((key.partition('/')[2] for line in log.val for key in line if '/' in key), '')
    for name in _subnets_with(metric, log.val):
        validation.plot(*series(log.val, f'{name}/{metric}'), '.-', label=literal(name), color=COLOURS.get(name))
    validation.set_title(literal(f'validation, calibrated: {metric}') if metric else 'no validation yet')
    schedule.plot(*series(log.train, 'lr'), color='C4', label='learning rate')
    norm = schedule.twinx()
    _draw_smoothed(norm, *series(log.train, 'grad_norm'), label='gradient norm', color='C5')
    schedule.set_title('learning rate (left), gradient norm before clipping (right)')
    for axes in grid.flat:
        axes.set_xlabel('iteration')
        axes.set_xlim(0, max(line['step'] for line in [*log.train, *log.val]))
        axes.grid(alpha=0.3)
        lines = [*axes.lines, *(norm.lines if axes is schedule else ())]
        if lines := [line for line in lines if not line.get_label().startswith('_')]:
            axes.legend(lines, [line.get_label() for line in lines], fontsize=8)
    figure.suptitle(f'{log.train[-1]["step"]:,} iterations, epoch {log.train[-1]["epoch"]}')
    return figure


def series(lines: Lines, key: str) -> tuple[list[int], list[float]]:
    """Iterations and values of one number, where it is finite."""
    found = [(line['step'], line[key]) for line in lines if math.isfinite(line.get(key, math.nan))]
    return [step for step, _ in found], [value for _, value in found]


def running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """The mean of the ``window`` values around each, of fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - (window - 1) // 2, 0), np.minimum(places + window // 2 + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def _draw_smoothed(axes, steps: Sequence[int], values: Sequence[float], label: str, color: str | None) -> None:
    """A running mean, and what it is of, pale."""
    window = max(1, round(SMOOTHED_SHARE * len(values)))
    (line,) = axes.plot(steps, running_mean(values, window), color=color, label=literal(label))
    if window > 1:
        axes.plot(steps, values, color=line.get_color(), alpha=0.2, linewidth=0.8, zorder=1)


def _subnets_with(metric: str, lines: Lines) -> list[str]:
    """Names of the subnets that have a metric, in the order of the log."""
    ending = f'/{metric}'
    return list(dict.fromkeys(key.removesuffix(ending) for line in lines for key in line if key.endswith(ending)))


def _lines(path: Path) -> Iterable[dict]:
    for text in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            line = parse_json(text)
        except InputError:  # the last line of a run that was killed
            continue
        if isinstance(line, dict) and isinstance(line.get('step'), int):
            yield line
