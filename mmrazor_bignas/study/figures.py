"""Plots of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from mmrazor_bignas.engine.plots import load_pyplot, save_figure


def draw_rankings(path: Path, accuracies: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Path:
    """Accuracy alone against accuracy with shared weights, a point with the span of its seeds for every subnet."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(6, 6), layout='constrained')
    everything = [value for pair in accuracies.values() for values in pair for value in values]
    ends = [min(everything) - 0.3, max(everything) + 0.3]
    axes.plot(ends, ends, color='0.7', linestyle='--', zorder=0)
    for name, (shared, alone) in accuracies.items():
        x, y = (sum(values) / len(values) for values in (alone, shared))
        errors = [[[mean - min(values)], [max(values) - mean]] for mean, values in ((x, alone), (y, shared))]
        axes.errorbar(x, y, xerr=errors[0], yerr=errors[1], marker='o', capsize=2)
        right = x > ends[0] + 0.7 * (ends[1] - ends[0])  # where a name would leave the plot on its right
        where = {'xytext': (-5 if right else 5, -10), 'ha': 'right' if right else 'left'}
        axes.annotate(name, (x, y), textcoords='offset points', fontsize=8, **where)
    axes.set(xlabel='top-1 % trained alone', ylabel='top-1 % with shared weights', xlim=ends, ylim=ends)
    axes.set_title('above the line, shared weights are better; bars span the seeds', fontsize=9)
    save_figure(figure, path)
    return path


def draw_budgets(path: Path, points: Mapping[str, Sequence[tuple[int, Sequence[float]]]]) -> Path:
    """Accuracy against FLOPs, a colour for every kind of network, a dot for every seed."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout='constrained')
    for (title, found), marker in zip(points.items(), cycle('oDsv^P'), strict=False):
        flops = [flops / 1e6 for flops, values in found for _ in values]
        axes.scatter(flops, [value for _, values in found for value in values], label=title, marker=marker, alpha=0.8)
    axes.set(xlabel='FLOPs (million multiply-adds)', ylabel='top-1 %')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, path)
    return path
