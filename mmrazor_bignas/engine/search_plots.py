"""Images of searches: the Pareto plot, the scores and the choices by generation."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

from mmrazor_bignas.engine.plots import load_pyplot
from mmrazor_bignas.engine.search_data import (
    COSTS,
    GENERATION_COLOURS,
    RUN_COLOURS,
    Records,
    failed,
    front,
    gene_shares,
    generation_of,
    generations_of,
    number,
    scored,
    scores_by_generation,
    short_name,
)
from mmrazor_bignas.search_space import ROWS

CELL_INCHES = 1.35, 0.95


def draw_pareto(histories: Mapping[str, Records], score_name: str = 'score', cost: str = 'flops'):
    """Score against a cost, with the front of every run; a single run's subnets are coloured by generation.

    Args:
        histories: ``name of the run -> records``.
        score_name: What the score is.
        cost: A key of :data:`~mmrazor_bignas.engine.search_data.COSTS`.
    """
    pyplot = load_pyplot()
    from matplotlib.colors import LinearSegmentedColormap

    axis = COSTS[cost]
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout='constrained')
    for (name, records), colour in zip(histories.items(), cycle(RUN_COLOURS), strict=False):
        shown = scored(records).values()
        points = [[number(record, cost) / axis.scale for record in shown], [record['score'] for record in shown]]
        of_front = [records[subnet] for subnet in front(records, ('score', cost))]
        line = [[record[cost] / axis.scale for record in of_front], [record['score'] for record in of_front]]
        if len(histories) > 1:
            axes.scatter(*points, color=colour, s=10, alpha=0.45, linewidths=0)
            axes.step(*line, where='post', color=colour, label=literal(f'{short_name(name)}: Pareto front'))
        else:
            generations = [generation_of(record) for record in shown]
            colours = LinearSegmentedColormap.from_list('generations', GENERATION_COLOURS)
            dots = axes.scatter(*points, c=generations, cmap=colours, s=14, alpha=0.8, linewidths=0)
            axes.step(*line, where='post', color=colour, label='Pareto front')
            if len(set(generations)) > 1:
                figure.colorbar(dots, label='generation').locator.set_params(integer=True)
    axes.set_xlabel(axis.label)
    axes.set_ylabel(literal(f'{score_name} on the search split'))
    failures = sum(len(failed(records)) for records in histories.values())
    evaluated = f'{sum(map(len, histories.values())):,} subnets evaluated'
    axes.set_title(f'{evaluated}, {failures:,} failed' if failures else evaluated)
    figure.legend(loc='outside upper center', ncols=2, frameon=False)
    axes.grid(alpha=0.3)
    return figure


def draw_scores(histories: Mapping[str, Records], score_name: str = 'score'):
    """Best score so far, median and quartiles by generation; arguments as of :func:`draw_pareto`."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout='constrained')
    for (name, records), colour in zip(histories.items(), cycle(RUN_COLOURS), strict=False):
        before = f'{short_name(name)}: ' if len(histories) > 1 else ''
        stats = scores_by_generation(records)
        x = [s.number for s in stats]
        axes.plot(x, [s.best for s in stats], '.-', color=colour, label=literal(f'{before}best so far'))
        axes.plot(x, [s.median for s in stats], '.:', color=colour, label=literal(f'{before}median and quartiles'))
        axes.fill_between(x, [s.low for s in stats], [s.high for s in stats], color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel('generation')
    axes.set_ylabel(literal(f'{score_name} on the search split'))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    figure.legend(loc='outside upper center', ncols=2, frameon=False)
    axes.grid(alpha=0.3)
    return figure


def draw_choices(histories: Mapping[str, Records]):
    """The share of every choice by generation, a heat map per gene; ``histories`` as of :func:`draw_pareto`."""
    pyplot = load_pyplot()
    shares = {name: gene_shares(records) for name, records in histories.items()}
    grids = {name: _places(genes) for name, genes in shares.items()}
    sizes = [tuple(1 + max(places) for places in zip(*grid, strict=True)) for grid in grids.values()]
    width, height = CELL_INCHES
    figure = pyplot.figure(
        figsize=(
            1.2 + width * max(columns for _, columns in sizes),
            sum(0.6 + height * rows for rows, _ in sizes),
        ),
        layout='constrained',
    )
    parts = figure.subfigures(len(histories), squeeze=False, height_ratios=[rows for rows, _ in sizes])[:, 0]
    for part, (name, genes), grid, size in zip(parts, shares.items(), grids.values(), sizes, strict=True):
        generations = generations_of(histories[name])
        cells = part.add_gridspec(*size)
        drawn = []
        for gene, place in zip(genes, grid, strict=True):
            axes = part.add_subplot(cells[place])
            block = '' if gene.block is None else f' block {gene.block}'
            axes.set_title(f'{gene.row.replace("_", " ")} {gene.place}{block}', fontsize=8)
            if gene.is_fixed:
                axes.text(0.5, 0.5, f'always {gene.choices[0]}', fontsize=8, ha='center', va='center')
                axes.set(xticks=[], yticks=[])
                continue
            drawn.append(axes)
            image = axes.imshow(gene.shares, cmap='Blues', vmin=0, vmax=1, aspect='auto', origin='lower')
            axes.set_yticks(range(len(gene.choices)), gene.choices, fontsize=6)
            ends = sorted({0, len(generations) - 1})
            axes.set_xticks(ends, [generations[i] for i in ends], fontsize=6)
        part.supxlabel('generation', fontsize=8)
        part.suptitle(literal(f'{short_name(name)}: choices of the candidates'), fontsize=10)
        if drawn:
            part.colorbar(image, ax=part.axes, aspect=40).set_label('share of the generation', fontsize=8)
    return figure


def literal(text: str) -> str:
    """A text that matplotlib shows as it is: no formula, no hidden legend entry."""
    text = text.replace('$', r'\$')
    return f' {text}' if text.startswith('_') else text


def _places(genes) -> list[tuple[int, int]]:
    """Row and column of every gene: a row of width, depth, ..., a column per stage, the resolution below the stem.

    Where blocks choose by themselves, those of a stage are below each other.
    """
    rows = sorted({(ROWS.index(gene.row), gene.block or 1) for gene in genes if gene.place})
    columns = list(dict.fromkeys(['stem', *(gene.place for gene in genes if gene.place)]))
    return [
        (rows.index((ROWS.index(gene.row), gene.block or 1)), columns.index(gene.place)) if gene.place else (1, 0)
        for gene in genes
    ]
