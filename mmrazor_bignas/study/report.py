"""The report of a study: Markdown and plots, from records alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.study.compute import training_flops
from mmrazor_bignas.study.figures import draw_budgets, draw_rankings
from mmrazor_bignas.study.plan import RANDOM_FROM, Study
from mmrazor_bignas.study.records import records_of
from mmrazor_bignas.study.results import Results, agreement
from mmrazor_bignas.study.statistics import (
    CONFIDENCE,
    difference,
    kendall_tau,
    mean_and_error,
    mean_interval,
    pooled_deviation,
)

WORST_DIFFERENCE, MEAN_DIFFERENCE, TAU = -0.3, 0.0, 0.6  # what was aimed at
ERRORS = 2  # a difference of more standard errors is called one
TITLES = {
    'no_distillation': 'every subnet learns the labels',
    'uniform': 'four random subnets a step, which learn the labels',
    'step_each_subnet': 'four optimizer steps per batch',
    'bestup': 'BestUp',
    'alpha_divergence': 'adaptive alpha divergence',
    'regularize_all': 'dropout in all subnets, weight decay once for each',
}


def write_report(study: Study, records: Path, out: Path) -> None:
    """Write the report of what there is.

    Args:
        study: The study.
        records: Folder of the records.
        out: The Markdown file; its plots go into a folder of the study's name beside it.

    Raises:
        InputError: There is no record, or matplotlib is missing.
        StorageError: The file cannot be written.
    """
    found = records_of(records, study.runs)
    if not found:
        raise InputError(f'{records}: has no records of runs; bignas study run {study.path} makes them')
    results = Results(study, found)
    plots = out.parent / study.name
    lines = [
        f'# Results of the study {study.name}',
        '',
        'Written by a script from the records of the runs; nothing here is typed:',
        '',
        '```bash',
        f'bignas study report {study.path} --records {os.path.relpath(records)} --out {os.path.relpath(out)}',
        '```',
        '',
        study.about.strip(),
        '',
        *_state(results),
        *_verdict(results),
        *_against_alone(results, plots, out),
        *_ablations(results),
        *_budgets(results, plots, out),
        *_stability(results),
        *_provenance(results, records, out),
    ]
    content = '\n'.join(lines).rstrip() + '\n'
    write_atomically(out, lambda file: file.write(content.encode()))


def _state(results: Results) -> list[str]:
    runs = results.study.runs
    missing = [name for name in runs if name not in results.records]
    hours = sum(record['seconds'] for record in results.records.values()) / 3600
    state = (
        f'{len(runs) - len(missing)} of {len(runs)} runs are done; their wall times add up to {hours:.1f} hours, '
        f'{_sides(results)} side by side. The longest run took {_longest(results):.1f} minutes with its searches and '
        f'tests, the longest training {_longest_training(results):.1f} minutes, by the times of steps in its log.'
    )
    return [state + (f' Not done: {", ".join(missing)}.' if missing else ''), '']


def _sides(results: Results) -> str:
    return ' or '.join(sorted({str(start['side_by_side']) for start in _starts(results)}))


def _starts(results: Results) -> list[dict]:
    return [start for record in results.records.values() for start in record['starts']]


def _longest(results: Results) -> float:
    return max(record['seconds'] for record in results.records.values()) / 60


def _longest_training(results: Results) -> float:
    return max(_training_seconds(record['log']['train']) for record in results.records.values()) / 60


def _training_seconds(lines: Sequence[Mapping]) -> float:
    """An estimate: a line of the log has the mean time of the last steps before it, not of all since the last line."""
    steps = [0, *(line['step'] for line in lines)]
    return sum(line['time'] * (step - before) for line, before, step in zip(lines, steps, steps[1:], strict=False))


def _verdict(results: Results) -> list[str]:
    gaps = {name: round(gap, 6) for name, (gap, _) in results.gaps().items()}  # accuracies are multiples of 0.01
    if len(gaps) < 3:
        return []
    fixed = {name: gap for name, gap in gaps.items() if name in results.study.fixed_subnets}
    preliminary = set(results.study.runs) - set(results.records)
    supernets = len(results.means(results.study.recipe))
    lines = [
        '## What the study says' + (', so far' if preliminary else ''),
        '',
        f'Claim: a subnet cut out of the supernet, without retraining, is as good as the same network trained alone '
        f'for as many epochs. {len(gaps)} subnets; accuracies are top-1 in per cent on the test images.',
        '',
        *_aims(results, gaps),
        '',
    ]
    if len(fixed) >= 3:
        lines += [
            f'The searched ones were chosen for their accuracy with the shared weights of {results.study.first}, which '
            f'is in favour of shared weights. Of the {len(fixed)} others:',
            '',
            *_aims(results, fixed),
            '',
        ]
    return [
        *lines,
        *_seeds(results),
        'The intervals take subnets for a sample of the space, which only the random ones are, and all share the '
        f'weights of {supernets} supernet{"s" * (supernets > 1)}. What other seeds would change is seen in the spread '
        'of the values below. '
        'That the test images are a sample, too, is in none of the errors.',
        '',
    ]


def _aims(results: Results, gaps: Mapping[str, float]) -> list[str]:
    worst = min(gaps, key=gaps.get)
    mean, low, high = mean_interval(list(gaps.values()))
    tau = results.tau(list(gaps))
    met = {True: 'met', False: 'NOT met'}
    return [
        f'- No subnet more than {-WORST_DIFFERENCE} points below itself trained alone: '
        f'{met[gaps[worst] >= WORST_DIFFERENCE]}. The worst is {worst}, {gaps[worst]:+.2f}; '
        f'{sum(gap < WORST_DIFFERENCE for gap in gaps.values())} of {len(gaps)} are below.',
        f'- Mean difference of {MEAN_DIFFERENCE:g} or more: {met[mean >= MEAN_DIFFERENCE]}. It is {mean:+.2f} '
        f'({100 * CONFIDENCE:.0f} % interval over subnets {low:+.2f} to {high:+.2f}).',
        f"- Kendall's tau of the two rankings of {TAU} or more: {met[tau[0] >= TAU]}. It is {tau[0]:.2f} "
        f'({100 * CONFIDENCE:.0f} % interval, bootstrap over subnets, {tau[1]:.2f} to {tau[2]:.2f}).',
    ]


def _seeds(results: Results) -> list[str]:
    shared, alone = results.by_seed()
    if len(alone) < 2:
        return []
    of_seeds = ', '.join(f'{kendall_tau(*both):.2f}' for both in zip(shared, alone, strict=True))
    return [
        f'Of one seed each, tau is {of_seeds}. For comparison, two seeds agree with each other, by the mean of tau '
        f'over pairs of them, to {agreement(alone):.2f} trained alone and to {agreement(shared):.2f} with shared '
        'weights; means over seeds can agree better.',
        '',
    ]


def _against_alone(results: Results, plots: Path, out: Path) -> list[str]:
    gaps, recipe = results.gaps(), results.study.recipe
    if not gaps:
        return []
    rows = []
    for name, (gap, error) in gaps.items():
        shared, alone = results.shared(recipe, name), results.alone(name)
        flops, params = results.cost(name)
        rows.append([name, f'{flops:,}', f'{params:,}', _values(shared), _values(alone), _signed(gap, error)])
    figure = draw_rankings(
        plots / 'shared_against_alone.png',
        {name: (results.shared(recipe, name), results.alone(name)) for name in gaps},
    )
    return [
        '## Shared weights against training alone',
        '',
        'One value for each seed; differences with their standard error. Both are tested with batch normalisation '
        'calibrated on the same training images. The largest subnet alone has the dropout that it has in the supernet, '
        'the others have none, there as here.',
        '',
        *_table(['subnet', 'FLOPs', 'params', 'shared weights', 'alone', 'difference'], rows),
        '',
        f'![accuracies with shared weights against accuracies alone]({os.path.relpath(figure, out.parent)})',
        '',
    ]


def _ablations(results: Results) -> list[str]:
    study = results.study
    reference = results.means(study.recipe)
    if not reference:
        return []
    cost = {recipe: training_flops(config, study.space) for recipe, config in study.supernets.items()}
    epochs = {run.of: run.epochs for run in study.runs.values() if run.kind == 'supernet'}
    trained = {recipe: means for recipe in study.supernets if (means := results.means(recipe))}
    deviation = pooled_deviation(trained.values())
    rows, gaps = [], {}

    def add(title: str, recipe: str, kind: str, gap: tuple[float, float] | None) -> None:
        if gap:
            gaps[title] = gap
        rows.append(
            [
                title,
                str(epochs[recipe]),
                f'{cost[recipe] / cost[study.recipe]:.2f}',
                _values(results.shared(recipe, 'min', kind)),
                _values(results.shared(recipe, 'max', kind)),
                _values(results.means(recipe, kind)),
                _signed(*gap) if gap else '',
            ]
        )

    add('the recipe', study.recipe, 'shared', None)
    uncalibrated = zip(results.means(study.recipe, 'uncalibrated'), reference, strict=True)
    add(
        "no calibration: all have the largest subnet's statistics",
        study.recipe,
        'uncalibrated',
        mean_and_error([a - b for a, b in uncalibrated]),
    )
    for recipe in (recipe for recipe in trained if recipe != study.recipe):
        add(TITLES.get(recipe, recipe), recipe, 'shared', difference(trained[recipe], reference, deviation))
    unknown = _those(gaps, lambda gap, error: math.isnan(error))
    return [
        '## What each part is worth',
        '',
        'Every row is the recipe with what it says changed, and as many epochs as cost about the same: compute is the '
        'expected FLOPs of all forward and backward passes against those of the recipe. Mean: over the subnets that no '
        'search chose, one value for each seed; differences with their standard error, from the deviation between '
        'seeds, which is taken to be the same in all trainings.',
        '',
        *_table(['training', 'epochs', 'compute', 'min', 'max', 'mean', 'against the recipe'], rows),
        '',
        f'By more than {ERRORS} standard errors:',
        '',
        f'- better than the recipe: {_those(gaps, lambda gap, error: gap > ERRORS * error) or "none"};',
        f'- worse: {_those(gaps, lambda gap, error: gap < -ERRORS * error) or "none"};',
        f'- neither: {_those(gaps, lambda gap, error: abs(gap) <= ERRORS * error) or "none"}.',
        *([f'- not known with one seed: {unknown}.'] if unknown else []),
        '',
    ]


def _those(gaps: Mapping[str, tuple[float, float]], which: Callable[[float, float], bool]) -> str:
    return '; '.join(title for title, gap in gaps.items() if which(*gap))


def _budgets(results: Results, plots: Path, out: Path) -> list[str]:
    study, rows, points = results.study, [], {}

    def add(budget: str, title: str, of: str, calibrated: Sequence[float], running: Sequence[float]) -> None:
        flops, params = results.cost(of)
        rows.append([budget, title, f'{flops:,}', f'{params:,}', _values(calibrated), _values(running)])
        points.setdefault(title, []).append((flops, calibrated or running))

    for budget in study.budgets:
        searched = f'searched_{budget}'
        shared = results.shared(study.recipe, searched)
        if shared and results.alone(searched):
            add(budget, 'searched, shared weights', searched, shared, [])
        randoms = [f'random_{budget}_{i + 1}' for i in range(study.random['per_budget'])]
        for of, title in ((searched, 'searched, alone'), *((name, 'random, alone') for name in randoms)):
            if results.alone(of):
                add(budget, title, of, results.alone(of), results.running(of))
        for baseline in study.baselines:
            if results.alone(f'{baseline}_{budget}'):
                add(budget, baseline, f'{baseline}_{budget}', [], results.running(f'{baseline}_{budget}'))
    if not rows:
        return []
    figure = draw_budgets(plots / 'budgets.png', points)
    candidates = results.records.get(study.first, {}).get('results', {}).get('candidates', {})
    searches = ''
    if candidates:
        numbers = ' and '.join(map(str, candidates.values()))
        searches = f'The searches chose the best of {numbers} candidates, by images that are not tested on. '
    return [
        '## Within a budget of FLOPs, at equal epochs',
        '',
        f'Random subnets have {100 * RANDOM_FROM:.0f} to 100 % of a budget; a search may stay further below it. '
        + searches
        + study.about_baselines.strip(),
        '',
        *_table(['budget', 'network', 'FLOPs', 'params', 'top-1 %, calibrated', 'with running statistics'], rows),
        '',
        f'![accuracy against FLOPs]({os.path.relpath(figure, out.parent)})',
        '',
    ]


def _stability(results: Results) -> list[str]:
    rows = []
    missing = len(set(results.study.runs) - set(results.records))
    for of in [*results.study.supernets, 'alone', 'baseline']:
        chosen = [record for record in results.records.values() if of in (record['of'], record['kind'])]
        norms = [line['grad_norm'] for record in chosen for line in record['log']['train'] if 'grad_norm' in line]
        if norms:
            rows.append([of, str(len(chosen)), f'{sum(norms) / len(norms):.2f}', f'{max(norms):.2f}'])
    return [
        '## Stability',
        '',
        'A loss or gradient norm that is no finite number ends a run, which then leaves no record; '
        + (f'{missing} runs have none, for this reason or another. ' if missing else 'all runs have one. ')
        + 'Norms are of the summed gradients before clipping, each the mean of the last steps before a line of the '
        'log; with a step after each subnet, of the last one.',
        '',
        *_table(['trainings', 'runs', 'mean gradient norm', 'largest of these'], rows),
        '',
    ]


def _provenance(results: Results, records: Path, out: Path) -> list[str]:
    rows = []
    for name in (name for name in results.study.runs if name in results.records):
        record = results.records[name]
        link = os.path.relpath(records / f'{name}.json', out.parent)
        rows.append(
            [
                f'[{name}]({link})',
                record['config'],
                str(record['seed']),
                ', '.join(dict.fromkeys(_commit(start) for start in record['starts'])),
                f'{record["seconds"]:.0f}',
                record['logs_digest'][:12],
            ]
        )
    machines = sorted({f'{one["device"]}, torch {one["torch"]}, Python {one["python"]}' for one in _starts(results)})
    return [
        '## Where it comes from',
        '',
        'A record has the commands, all overrides, and what was logged. On: ' + '; '.join(machines) + '.',
        '',
        *_table(['run', 'config', 'seed', 'commit', 'seconds', 'SHA-256 of the log'], rows),
        '',
    ]


def _commit(start: Mapping) -> str:
    return start['commit'][:10] + (' and changes' if start['changed'] else '')


def _values(values: Iterable[float]) -> str:
    return ' / '.join(f'{value:.2f}' for value in values)


def _signed(value: float, error: float) -> str:
    return f'{value:+.2f}' + ('' if math.isnan(error) else f' ± {error:.2f}')


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f'| {" | ".join(row)} |' for row in (head, ['---'] * len(head), *rows)]
