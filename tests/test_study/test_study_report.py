"""The report of made-up records: every number in it is one of theirs."""

import json
from pathlib import Path

import pytest
from conftest import ROOT
from test_plan import STUDY

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.study.plan import Study
from mmrazor_bignas.study.records import read_records, write_record
from mmrazor_bignas.study.report import write_report
from mmrazor_bignas.study.results import Results

SCORE = 'accuracy/top1'
START = {
    'commit': 'abcdef0123456789',
    'changed': False,
    'side_by_side': 2,
    'device': 'a processor',
    'torch': '2.11',
    'python': '3.11',
}
LINES = {'grad_norm': 1.5, 'time': 1.0, 'step': 10}, {'grad_norm': 2.5, 'time': 2.0, 'step': 20}


@pytest.fixture(scope='module')
def study():
    return Study(STUDY)


def made_up(study, shared_minus_alone: float) -> dict[str, dict]:
    """Records of all runs; subnets are the better the later they come."""
    subnets = {name: subnet.to_dict() for name, subnet in study.fixed_subnets.items()}
    searched = study.space.largest.to_dict()
    level = {name: 80.0 + i for i, name in enumerate(study.subnets)}
    records = {}
    for run in study.runs.values():
        if run.kind == 'supernet':
            gap = shared_minus_alone - (0 if run.of == study.recipe else 1)
            shared = {name: {SCORE: value + gap + run.seed / 10} for name, value in level.items()}
            results = {'shared': shared}
            if run.of == study.recipe:
                results['subnets'] = dict.fromkeys(study.searched, searched)
                results['candidates'] = dict.fromkeys(study.searched, 77)
                results['uncalibrated'] = {name: {SCORE: 11.0} for name in level}
        else:
            value = level.get(run.of, 75.0)
            results = {SCORE: value + run.seed / 10, 'flops': int(value * 1000), 'params': 1234}
            if run.kind == 'alone':
                results['with_running_statistics'] = value - 0.5
                results['subnet'] = subnets.get(run.of, searched)
        records[run.name] = {
            'run': run.name,
            'kind': run.kind,
            'of': run.of,
            'seed': run.seed,
            'config': str(run.config),
            'digest': run.digest,
            'commands': ['python tools/train.py'],
            'seconds': 60.0,
            'starts': [START, {**START, 'commit': '9876543210'}],
            'logs_digest': '00ff' * 16,
            'log': {'train': list(LINES), 'val': []},
            'results': results,
        }
    return records


def report_of(study, records, folder) -> str:
    for record in records.values():
        write_record(folder / 'records', record)
    write_report(study, folder / 'records', folder / 'results.md')
    return (folder / 'results.md').read_text()


def test_a_study_that_supports_the_claim(study, tmp_path):
    text = report_of(study, made_up(study, 0.5), tmp_path)
    assert text.count(': met.') == 6
    assert 'Of the 6 others:' in text
    assert '56 of 56 runs are done; their wall times add up to 0.9 hours, 2 side by side. The longest run' in text
    assert 'took 1.0 minutes with its searches and tests, the longest training 0.5 minutes, by the times' in text
    assert (
        '| max | 81,000 | 1,234 | 81.50 / 81.60 / 81.70 / 81.80 | 81.00 / 81.10 / 81.20 / 81.30 | +0.50 ± 0.09 |'
        in text
    )
    assert study.about.strip() in text
    eleven = '11.00 / 11.00 / 11.00 / 11.00 | ' * 3
    assert f"all have the largest subnet's statistics | 200 | 1.00 | {eleven}-72.15 ± 0.06" in text
    recipe = '80.50 / 80.60 / 80.70 / 80.80 | 81.50 / 81.60 / 81.70 / 81.80 | 83.00 / 83.10 / 83.20 / 83.30'
    assert f'| the recipe | 200 | 1.00 | {recipe} |  |' in text
    assert 'abcdef0123, 9876543210 |' in text
    assert '\n- better than the recipe: none;\n' in text
    assert 'Of one seed each, tau is 1.00, 1.00, 1.00, 1.00.' in text
    assert 'to 1.00 trained alone and to 1.00 with shared weights;' in text
    assert 'so far' not in text
    assert 'The searches chose the best of 77 and 77 candidates, by images' in text
    of_four = '81.50 / 81.50 / 81.50 / 81.50'
    assert f'| small | random, alone | 82,000 | 1,234 | 82.00 / 82.10 / 82.20 / 82.30 | {of_four} |' in text
    assert '| small | mobilenet_v3 | 75,000 | 1,234 |  | 75.00 / 75.10 |' in text
    assert '| sandwich | 4 | 2.00 | 2.50 |' in text
    assert (tmp_path / study.name / 'shared_against_alone.png').stat().st_size > 10_000
    assert (tmp_path / study.name / 'budgets.png').stat().st_size > 10_000


def test_a_study_that_does_not(study, tmp_path):
    records = made_up(study, -0.5)
    shared = records[study.first]['results']['shared']
    for name, opposite in zip(study.subnets, reversed(study.subnets), strict=True):
        for seed in study.all_seeds:
            value = records[f'{opposite}-seed{seed}']['results'][SCORE] - 0.5
            records[f'sandwich-seed{seed}']['results']['shared'][name] = {SCORE: value}
    assert shared['min'] != shared['max']
    text = report_of(study, records, tmp_path)
    assert text.count('NOT met') == 5  # without the searched ones, which are the worst, the mean is +1.50
    assert 'It is -1.00' in text


def test_what_an_ablation_did_is_said_if_it_is_more_than_noise(study, tmp_path):
    records = made_up(study, 0.5)
    for seed in (0, 1):
        for subnet in records[f'bestup-seed{seed}']['results']['shared'].values():
            subnet[SCORE] += 3
        for subnet in records[f'uniform-seed{seed}']['results']['shared'].values():
            subnet[SCORE] += 2 * seed
    text = report_of(study, records, tmp_path)
    assert '\n- better than the recipe: BestUp;\n' in text
    assert (
        "\n- worse: no calibration: all have the largest subnet's statistics; every subnet learns the labels; four opt"
        in text
    )
    assert '\n- neither: four random subnets a step, which learn the labels.\n' in text
    assert 'not known' not in text


def test_of_one_seed_nothing_is_said_to_differ(study, tmp_path):
    records = {name: record for name, record in made_up(study, 0.5).items() if record['seed'] == 0}
    text = report_of(study, records, tmp_path)
    assert '\n- better than the recipe: none;\n- worse: none;\n- neither: none.\n' in text
    assert "- not known with one seed: no calibration: all have the largest subnet's statistics; every subnet" in text
    assert 'Of one seed each' not in text


def test_what_is_missing_is_named(study, tmp_path):
    records = made_up(study, 0.0)
    for name in ('bestup-seed1', 'efficientnet_small-seed0', *(f'min-seed{seed}' for seed in range(4))):
        del records[name]
    text = report_of(study, records, tmp_path)
    assert '50 of 56 runs are done' in text
    assert '## What the study says, so far' in text
    assert 'Not done: min-seed0, efficientnet_small-seed0, bestup-seed1, min-seed1, min-seed2, min-seed3.' in text
    assert '\n| min |' not in text


def test_a_seed_is_compared_with_itself(study):
    records = made_up(study, 0.0)
    for name in ('min-seed1', 'sandwich-seed2'):
        del records[name]
    results = Results(study, records)
    assert results.alone('min') == [80.0, 80.2, 80.3]
    assert results.shared('sandwich', 'min') == [80.0, 80.1, 80.3]
    shared, alone = results.by_seed()
    assert shared[0] == alone[0] == [80.0, 81.0, 82.0, 83.0, 84.0, 85.0, 86.0, 87.0]
    assert shared[1] == alone[1] == [80.3, 81.3, 82.3, 83.3, 84.3, 85.3, 86.3, 87.3]
    assert len(shared) == len(alone) == 2


def test_the_same_records_make_the_same_report(study, tmp_path):
    records = made_up(study, 0.1)
    assert report_of(study, records, tmp_path) == report_of(study, records, tmp_path)


def test_no_record_and_one_that_is_broken(study, tmp_path):
    with pytest.raises(InputError, match='has no records of runs'):
        write_report(study, tmp_path, tmp_path / 'results.md')
    record = json.dumps(made_up(study, 0.0)['min-seed0'])
    for content in ('{"run": "min-seed1"}', '[1]', '{', '[' * 20_000, record):  # the last is of another run
        (tmp_path / 'min-seed1.json').write_text(content)
        with pytest.raises(InputError, match=r'min-seed1\.json: no record of the run min-seed1'):
            read_records(tmp_path)


def test_records_of_other_configs_and_of_other_subnets(study, tmp_path):
    records = made_up(study, 0.1)
    records['searched_small-seed0']['results']['subnet'] = study.space.smallest.to_dict()
    with pytest.raises(InputError, match=r'searched_small-seed0\.json is of another subnet than the search found'):
        report_of(study, records, tmp_path / 'a')
    records = made_up(study, 0.1)
    records['bestup-seed0']['digest'] = 'other'
    with pytest.raises(InputError, match=r'bestup-seed0\.json is of another config'):
        report_of(study, records, tmp_path / 'b')


def test_the_published_results_are_made_of_their_records(tmp_path, monkeypatch):
    (tmp_path / 'docs').mkdir()
    for name in ('configs', 'docs/results'):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    write_report(Study(STUDY.relative_to(ROOT)), Path('docs/results/fashion_mnist'), Path('docs/results.md'))
    assert Path('docs/results.md').read_text() == (ROOT / 'docs/results.md').read_text()
