"""The report of searches: one HTML file that opens offline."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import cycle
from pathlib import Path

from mmrazor_bignas.engine.search_data import (
    COSTS,
    GENERATION_COLOURS,
    RUN_COLOURS,
    GeneShares,
    Records,
    check_objectives,
    failed,
    front,
    gene_shares,
    generation_of,
    generations_of,
    number,
    scored,
    scores_by_generation,
    short_name,
    shown_costs,
    thinned,
)
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import ROWS, SubnetSpec

Links = Mapping[SubnetSpec, str]

BEST_ROWS, FRONT_ROWS = 10, 20
TAKEN_OVER = 'Generation 0 was taken over from the history of an earlier search.'
ROW_LABELS = {
    'resolution': 'resolution (pixels)',
    'width': 'width (channels)',
    'depth': 'depth (blocks)',
    'kernel_size': 'kernel size',
    'expand_ratio': 'expand ratio',
}


def write_report(
    path: str | Path,
    histories: Mapping[str, Records],
    objectives: Sequence[str] = ('score', 'flops'),
    score_name: str = 'score',
    links: Links | None = None,
) -> None:
    """Write the report of a search, or of several to compare.

    Args:
        path: The HTML file.
        histories: ``name of the run -> records``, as :func:`~mmrazor_bignas.search.read_history` gives them.
        objectives: What the searches trade off: ``'score'``, of which more is better, and costs.
        score_name: What the score is.
        links: Where the YAMLs of subnets are, relative to the report.

    Raises:
        InputError: An objective is unknown, or plotly is not installed.
        StorageError: The file cannot be written.
    """
    check_objectives(objectives)
    plotly = _plotly()
    costs = shown_costs(histories.values(), objectives)
    figures = {
        'pareto': _pareto_figure(histories, score_name, costs),
        'scores': _scores_figure(histories, score_name),
    }
    trade_off = ', '.join('score up' if key == 'score' else f'{COSTS[key].name} down' for key in objectives)
    content = [
        '<h1>Search report</h1>',
        f'<p>The score is <b>{escape(score_name)}</b> on the search split; objectives: {trade_off}.</p>',
        _summary(histories, costs),
        *(_failures(name, records) for name, records in histories.items()),
        f'<h2>Score against cost</h2>{_switch(costs)}<div class="plot" id="pareto"></div>',
        '<h2>Score by generation</h2><p>Line: best so far. Dotted: median of the generation, with its quartiles.</p>',
        '<div class="plot" id="scores"></div>',
        '<h2>Choices by generation</h2>',
        '<p>A column is a generation, a row a choice; the colour is the share of the candidates that took it,'
        ' 0 % <span class="scale"></span> 100 %.</p>',
        *(_choices(name, records) for name, records in histories.items()),
        '<h2>Best subnets</h2>',
        *(_tables(name, records, objectives, costs, links or {}) for name, records in histories.items()),
    ]
    page = PAGE.format(
        style=STYLE,
        content='\n'.join(content),
        plotly=plotly,
        # No tag can end the script, whatever the strings in it.
        figures=json.dumps(figures, allow_nan=False).replace('<', '\\u003c'),
        script=SCRIPT,
    )
    write_atomically(path, lambda file: file.write(page.encode('utf-8', 'replace')))


def _plotly() -> str:
    """The source of plotly.js."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise InputError('reports need plotly: pip install plotly') from error
    return get_plotlyjs()


def _pareto_figure(histories: Mapping[str, Records], score_name: str, costs: Sequence[str]) -> dict:
    """Dots and front of every run, in this order; ``switch`` has their coordinates for every cost."""
    traces: list[dict] = []
    switch = {cost: {'x': [], 'y': [], 'title': COSTS[cost].label} for cost in costs}
    several = len(histories) > 1
    for (name, records), colour in zip(histories.items(), cycle(RUN_COLOURS), strict=False):
        shown = scored(records)
        for cost, to in switch.items():
            for of_trace in (shown, {subnet: records[subnet] for subnet in front(records, ('score', cost))}):
                to['x'].append([_json(number(record, cost) / COSTS[cost].scale) for record in of_trace.values()])
                to['y'].append([record['score'] for record in of_trace.values()])
        generations = [generation_of(record) for record in shown.values()]
        marker = {'size': 6, 'opacity': 0.5, 'color': colour} if several else _by_generation(generations)
        dots = {
            'name': _legend(name) if several else 'subnets',
            'mode': 'markers',
            'marker': marker,
            'text': [_hover(subnet, record, name if several else '') for subnet, record in shown.items()],
            'hoverinfo': 'text',
        }
        line = {
            'name': f'{_legend(name)}: Pareto front' if several else 'Pareto front',
            'mode': 'lines',
            'line': {'shape': 'hv', 'color': colour, 'width': 2},
            'hoverinfo': 'skip',
        }
        traces += [{**trace, 'legendgroup': _plotly_text(name) if several else ''} for trace in (dots, line)]
    first = switch[costs[0]]
    for trace, x, y in zip(traces, first['x'], first['y'], strict=True):
        trace |= {'x': x, 'y': y}
    return {**_figure(traces, first['title'], score_name), 'switch': switch}


def _by_generation(generations: Sequence[int]) -> dict:
    """Markers coloured by generation; a single generation needs no scale."""
    marker = {'size': 6, 'opacity': 0.8, 'color': generations}
    if len(set(generations)) < 2:
        return {**marker, 'color': GENERATION_COLOURS[0]}
    steps = len(GENERATION_COLOURS) - 1
    return {
        **marker,
        'colorscale': [[i / steps, colour] for i, colour in enumerate(GENERATION_COLOURS)],
        'colorbar': {
            'title': {'text': 'generation', 'side': 'right'},
            'thickness': 12,
            'outlinewidth': 0,
            **_integer_ticks(generations),
        },
    }


def _scores_figure(histories: Mapping[str, Records], score_name: str) -> dict:
    traces: list[dict] = []
    for (name, records), colour in zip(histories.items(), cycle(RUN_COLOURS), strict=False):
        before = f'{_legend(name)}: ' if len(histories) > 1 else ''
        stats = scores_by_generation(records)
        common = {'x': [s.number for s in stats], 'legendgroup': before}
        edge = {**common, 'mode': 'lines', 'line': {'width': 0}, 'showlegend': False, 'hoverinfo': 'skip'}
        traces += [
            {**edge, 'y': [_json(s.low) for s in stats]},
            {**edge, 'y': [_json(s.high) for s in stats], 'fill': 'tonexty', 'fillcolor': f'{colour}33'},
            {
                **common,
                'y': [_json(s.median) for s in stats],
                'name': f'{before}median and quartiles',
                'mode': 'lines+markers',
                'line': {'color': colour, 'dash': 'dot', 'width': 1.5},
                'marker': {'size': 4},
            },
            {
                **common,
                'y': [_json(s.best) for s in stats],
                'name': f'{before}best so far',
                'mode': 'lines+markers',
                'line': {'color': colour, 'width': 2},
                'marker': {'size': 5},
            },
        ]
    figure = _figure(traces, 'generation', score_name)
    figure['layout']['hovermode'] = 'x unified'
    figure['layout']['xaxis'] |= _integer_ticks([g for records in histories.values() for g in generations_of(records)])
    return figure


def _plotly_text(text: str) -> str:
    """Shown by plotly as it is; it knows some tags, and few names of characters."""
    return escape(text, quote=False)


def _legend(name: str) -> str:
    return _plotly_text(short_name(name))


def _integer_ticks(numbers: Sequence[int]) -> dict:
    low, high = min(numbers, default=0), max(numbers, default=0)
    return {'tick0': low, 'dtick': math.ceil((high - low) / 10) or 1}


def _figure(traces: list[dict], x: str, score_name: str) -> dict:
    layout = {
        'xaxis': {'title': {'text': x}, 'automargin': True, 'zeroline': False},
        'yaxis': {
            'title': {'text': f'{_plotly_text(score_name)} on the search split'},
            'automargin': True,
            'zeroline': False,
        },
        'hoverlabel': {'align': 'left'},
        'legend': {'orientation': 'h', 'x': 0, 'y': 1.02, 'yanchor': 'bottom', 'groupclick': 'toggleitem'},
        'margin': {'l': 50, 'r': 20, 't': 30, 'b': 50},
        'paper_bgcolor': 'rgba(0,0,0,0)',
        'plot_bgcolor': 'rgba(0,0,0,0)',
    }
    return {'data': [{'type': 'scatter', **trace} for trace in traces], 'layout': layout}


def _hover(subnet: SubnetSpec, record: Mapping, run: str) -> str:
    costs = [
        f'{axis.name} {_short(number(record, key) / axis.scale)} {axis.unit}'
        for key, axis in COSTS.items()
        if not math.isnan(number(record, key))
    ]
    rows = [f'{row.replace("_", " ")} {text}' for row, text in _rows(subnet).items()]
    head = [
        _plotly_text(run),
        f'score {_score(record["score"])}',
        ', '.join(costs),
        f'generation {generation_of(record)}',
    ]
    return '<br>'.join(line for line in (*head, *rows) if line)


def _summary(histories: Mapping[str, Records], costs: Sequence[str]) -> str:
    rows = []
    for name, records in histories.items():
        generations = generations_of(records)
        best = next(iter(scored(records).values()), {})
        counts = [len(records), len(failed(records)), sum(generation > 0 for generation in generations)]
        rows.append([_text(name), *(f'{n:,}' for n in counts), _score(number(best, 'score')), *_costs(best, costs)])
    head = ['run', 'candidates', 'failed', 'generations', 'best score', *(f'its {title}' for title in _titles(costs))]
    notes = [
        TAKEN_OVER if any(0 in generations_of(records) for records in histories.values()) else '',
        '' if any(map(scored, histories.values())) else 'No candidate has a finite score.',
    ]
    return f'{_table(head, rows)}<p>{" ".join(notes)}</p>'


def _failures(name: str, records: Records) -> str:
    failures = failed(records)
    if not failures:
        return ''
    rows = [
        [str(generation_of(records[subnet])), _text(message), *_rows(subnet).values()]
        for subnet, message in failures.items()
    ]
    table = _table(['generation', 'error', *map(_spaced, ROWS)], rows)
    return f'<details><summary>{escape(name)}: {len(rows):,} failed</summary>{table}</details>'


def _switch(costs: Sequence[str]) -> str:
    buttons = (
        f'<label><input type="radio" name="cost" value="{cost}"{" checked" * (cost == costs[0])}>'
        f' {COSTS[cost].name}</label>'
        for cost in costs
    )
    return f'<p class="switch">Cost: {" ".join(buttons)}</p><p>Drag to zoom in, double-click to zoom out.</p>'


def _choices(name: str, records: Records) -> str:
    generations = generations_of(records)
    genes = gene_shares(records)
    lines = []
    for row in ROWS:
        maps = ''.join(_heat_map(gene, generations) for gene in genes if gene.row == row)
        lines.append(f'<div class="row"><h4>{ROW_LABELS[row]}</h4><div class="genes">{maps}</div></div>')
    return f'<h3>{escape(name)}</h3>{"".join(lines)}'


def _heat_map(gene: GeneShares, generations: Sequence[int]) -> str:
    """The shares of a gene's choices, the largest choice on top."""
    place = f'stage {gene.place}' if gene.place.isdigit() else gene.place
    place += '' if gene.block is None else f', block {gene.block}'
    if gene.is_fixed:
        return f'<figure><figcaption>{place}</figcaption><p>always {gene.choices[0]}</p></figure>'
    cells = ''.join(
        f'<rect x="{x}" y="{y}" width="1.02" height="1" fill-opacity="{share:.2f}">'
        f'<title>{choice} in generation {generation}: {share:.0%}</title></rect>'
        for y, (choice, shares) in enumerate(zip(gene.choices[::-1], gene.shares[::-1], strict=True))
        for x, (generation, share) in enumerate(zip(generations, shares.tolist(), strict=True))
        if share
    )
    labels = ''.join(f'<span>{choice}</span>' for choice in gene.choices[::-1])
    ends = ''.join(f'<span>{generation}</span>' for generation in thinned(generations, 2))
    return (
        f'<figure><figcaption>{place}</figcaption><div class="labels">{labels}</div>'
        f'<svg viewBox="0 0 {len(generations)} {len(gene.choices)}" preserveAspectRatio="none"'
        f' style="height:{14 * len(gene.choices)}px">{cells}</svg><div class="ends">{ends}</div></figure>'
    )


def _tables(name: str, records: Records, objectives: Sequence[str], costs: Sequence[str], links: Links) -> str:
    best = list(scored(records))[:BEST_ROWS]
    members = front(records, objectives)
    members.sort(key=lambda subnet: number(records[subnet], costs[0]))
    shown = thinned(members, FRONT_ROWS)
    of = f'{len(members)}' if len(shown) == len(members) else f'{len(shown)} of {len(members)}, evenly chosen'
    parts = [f'<h3>{escape(name)}</h3>']
    for title, subnets in (
        (f'Best {len(best)} by score', best),
        (f'Pareto front, by {COSTS[costs[0]].name}: {of}', shown),
    ):
        linked = any(subnet in links for subnet in subnets)
        head = ['score', *_titles(costs), 'generation', *map(_spaced, ROWS), *(['file'] if linked else [])]
        rows = [
            [
                _score(number(record, 'score')),
                *_costs(record, costs),
                str(generation_of(record)),
                *_rows(subnet).values(),
                *([_link(links.get(subnet))] if linked else []),
            ]
            for subnet in subnets
            for record in [records[subnet]]
        ]
        parts.append(f'<h4>{title}</h4>{_table(head, rows)}')
    return ''.join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML."""
    body = ''.join(f'<tr>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>' for row in rows)
    return f'<table><thead><tr>{"".join(f"<th>{cell}</th>" for cell in head)}</tr></thead><tbody>{body}</tbody></table>'


def _text(text: str) -> str:
    return f'<span class="text">{escape(text)}</span>'


def _link(url: str | None) -> str:
    return f'<a href="{escape(url)}">YAML</a>' if url else ''


def _rows(subnet: SubnetSpec) -> dict[str, str]:
    """The text of every row; the choices of a stage's blocks with commas: ``3 3,5,3 5``."""

    def text(value: int | tuple) -> str:
        return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)

    rows = {row: getattr(subnet, row) for row in ROWS}
    return {row: ' '.join(map(text, value)) if isinstance(value, tuple) else str(value) for row, value in rows.items()}


def _titles(costs: Sequence[str]) -> list[str]:
    return [f'{COSTS[cost].name} ({COSTS[cost].unit})' for cost in costs]


def _costs(record: Mapping, costs: Sequence[str]) -> list[str]:
    return [_short(number(record, cost) / COSTS[cost].scale) for cost in costs]


def _spaced(row: str) -> str:
    return row.replace('_', ' ')


def _score(value: float) -> str:
    if math.isnan(value):
        return '-'
    return f'{value:.4f}' if abs(value) < 1e6 else f'{value:.4g}'


def _short(value: float) -> str:
    if math.isnan(value):
        return '-'
    return f'{value:,.0f}' if 999.95 <= abs(value) < 1e9 else f'{value:#.4g}'


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --soft: #666; --rule: #ddd; --heat: #2b6cb0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #17191c; --soft: #999; --rule: #3a3d42; --heat: #6cb2f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 1.5rem; color: var(--ink); background: var(--paper);
  font: 14px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem; padding-top: 0.5rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.5rem 0 0.5rem; }
h4 { font-size: 0.85rem; font-weight: 600; margin: 1rem 0 0.3rem; }
p { margin: 0.4rem 0; }
a { color: var(--heat); }
summary { cursor: pointer; }
table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
h1, h2, h3, p, summary, .text { overflow-wrap: anywhere; }
.plot { height: 480px; }
.switch label { margin-left: 0.8rem; }
.row { display: flex; gap: 1rem; margin-bottom: 0.6rem; }
.row h4 { flex: 0 0 5.5rem; margin: 0; color: var(--soft); }
.genes { flex: 1; display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 0.3rem 0.8rem; }
figure { margin: 0; display: grid; grid-template-columns: 2.1rem 1fr; gap: 0 0.3rem; align-content: start;
  font-size: 11px; line-height: 14px; color: var(--soft); }
figcaption, figure p { grid-column: 2; margin: 0; min-height: 14px; }
figcaption { color: var(--ink); }
.labels { display: grid; text-align: right; }
figure svg { width: 100%; fill: var(--heat); background: color-mix(in srgb, var(--rule) 40%, transparent); }
.scale { display: inline-block; width: 6rem; height: 0.8rem; vertical-align: middle;
  background: linear-gradient(90deg, color-mix(in srgb, var(--rule) 40%, transparent), var(--heat)); }
.ends { grid-column: 2; display: flex; justify-content: space-between; }
"""

SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)');
function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, paper, rule] = ['--ink', '--paper', '--rule'].map(name => style.getPropertyValue(name));
  const colours = {'font.color': ink, 'hoverlabel.bgcolor': paper, 'hoverlabel.bordercolor': rule,
    'hoverlabel.font.color': ink};
  for (const axis of ['xaxis', 'yaxis']) colours[axis + '.gridcolor'] = rule;
  return colours;
}
for (const [name, {data, layout}] of Object.entries(figures)) {
  const dye = () => Plotly.relayout(name, theme());
  Plotly.newPlot(name, data, layout, {responsive: true, displayModeBar: false, typesetMath: false}).then(dye);
  dark.addEventListener('change', dye);
}
for (const button of document.querySelectorAll('[name=cost]')) {
  button.addEventListener('change', () => {
    const {x, y, title} = figures.pareto.switch[button.value];
    Plotly.update('pareto', {x, y}, {'xaxis.title.text': title, 'xaxis.autorange': true, 'yaxis.autorange': true});
  });
}
"""

# The policy keeps the page from loading anything, whatever plotly.js would do.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Search report</title>
<style>{style}</style>
</head>
<body>
{content}
<script>{plotly}</script>
<script>const figures = {figures};{script}</script>
</body>
</html>
"""
