import re

import pytest
import yaml
from conftest import ROOT

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space.cost_table import CostTable
from mmrazor_bignas.study.plan import KEYS, RANDOM_FROM, Study

STUDY = ROOT / 'configs/studies/fashion_mnist/study.yaml'


@pytest.fixture(scope='module')
def study():
    return Study(STUDY)


def test_eight_subnets_of_which_two_are_searched(study):
    assert len(study.subnets) == 8
    assert study.searched == ['searched_small', 'searched_medium']
    assert study.fixed_subnets == Study(STUDY).fixed_subnets


def test_random_subnets_are_close_to_their_budget(study):
    cost = CostTable(study.space, study.num_classes)
    randoms = {name: cost(subnet).flops for name, subnet in study.fixed_subnets.items() if name.startswith('random')}
    assert len(randoms) == 4
    for name, flops in randoms.items():
        budget = study.budgets[name.split('_')[1]]
        assert RANDOM_FROM * budget <= flops <= budget


def test_runs_need_what_they_read_and_nothing_else(study):
    runs = study.runs
    assert len(runs) == 2 * (7 + 8 + 4) + 2 * (1 + 8)
    assert {run.of for run in runs.values() if run.seed in (2, 3)} == {'sandwich', *study.subnets}
    assert not runs[study.first].needs
    for run in runs.values():
        reads_a_search = run.name != study.first and (run.kind == 'supernet' or run.of in study.searched)
        assert run.needs == ((study.first,) if reads_a_search else ())


def test_the_largest_subnet_alone_is_regularised_as_in_the_supernet(study):
    runs = study.runs
    assert runs['max-seed0'].options == {'algorithm.architecture.head.dropout': 0.1, 'randomness.seed': 0}
    assert list(runs['min-seed0'].options) == ['randomness.seed']
    assert runs['max-seed0'].digest != runs['max-seed1'].digest
    assert runs['max-seed0'].digest == Study(STUDY).runs['max-seed0'].digest
    digests = [run.digest for run in runs.values() if run.of not in study.searched]  # what is found is in records
    assert len(set(digests)) == len(digests)


def written(tmp_path, **changes):
    """The study with other keys; its configs are those in the repository."""
    content = yaml.safe_load(STUDY.read_text())
    for key in ('search', 'evaluate', 'alone'):
        content[key] = str(STUDY.parent / content[key])
    content['supernets'] = {name: str(STUDY.parent / config) for name, config in content['supernets'].items()}
    path = tmp_path / 'study.yaml'
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'cannot read the study: No such file'),
        ('a: [', 'not a YAML file'),
        ('name: x\nabout: y\nname: z', "study.yaml, line 3: the key 'name' is given twice, first in line 1"),
        ('[1, 2]', 'expected a mapping with exactly the keys'),
        ('name: x', f'expected a mapping with exactly the keys {list(KEYS)}'),
    ],
)
def test_a_file_that_is_no_study(tmp_path, content, message):
    path = tmp_path / 'study.yaml'
    if content:
        path.write_text(content)
    with pytest.raises(InputError) as error:
        Study(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'seeds': []}, 'seeds is []; expected a list of integers, 1 or more'),
        ({'more_seeds': 3}, 'more_seeds is 3; expected a list of integers, 0 or more'),
        ({'more_seeds': [1, 2]}, 'seeds and more_seeds are [0, 1, 1, 2] together; expected each once'),
        ({'budgets': {'small': 'few'}}, "budgets is {'small': 'few'}"),
        ({'random': 3}, 'random is 3; expected per_budget and seed, integers of 0 or more'),
        ({'random': {'per_budget': 'x', 'seed': 0}}, "random is {'per_budget': 'x', 'seed': 0}; expected"),
        ({'supernets': {}}, 'the recipe first'),
        ({'supernets': {'a': None}}, 'the recipe first'),
        ({'name': 5}, 'name is 5; expected a text'),
        ({'search': None}, 'search is None; expected a text'),
        ({'baselines': None}, 'baselines is None; expected names with configs and overrides, or {}'),
        ({'baselines': {'x': {'config': 'a.py'}}}, 'baselines.x has'),
    ],
)
def test_values_of_another_form(tmp_path, changes, message):
    content = {**yaml.safe_load(STUDY.read_text()), **changes}
    path = tmp_path / 'study.yaml'
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=re.escape(message)):
        Study(path)


def test_a_config_that_is_not_there_and_a_budget_that_nothing_meets(tmp_path):
    with pytest.raises(InputError, match=r'names nowhere\.py'):
        Study(written(tmp_path, alone='nowhere.py'))
    study = Study(written(tmp_path, budgets={'none': 1000}, baselines={}))
    with pytest.raises(InputError, match='the budget none, 1,000 FLOPs'):
        study.fixed_subnets  # noqa: B018
