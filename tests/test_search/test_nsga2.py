"""NSGA-II: the best score at every cost."""

import math
import random
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
from conftest import ROOT, TINY_CLASSES
from searches import score, search

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import NSGA2, Constraints, Evolution, pareto_front
from mmrazor_bignas.search_space import CostTable

pytest.importorskip('pymoo')


@pytest.fixture(scope='module')
def cost(tiny_space):
    return CostTable(tiny_space, TINY_CLASSES)


@pytest.fixture
def nsga2(tiny_space, cost):
    """A search of the tiny space; ``ranges`` are its constraints."""

    def make(population=20, **kwargs):
        ranges = kwargs.pop('ranges', {'flops': (None, 1_000_000)})
        return NSGA2(tiny_space, Constraints(tiny_space, cost, ranges), population, **kwargs)

    return make


def front(cost, scores, *names):
    """The Pareto front of score and costs."""
    return pareto_front({s: (-value, *(getattr(cost(s), name) for name in names)) for s, value in scores.items()})


@pytest.mark.parametrize(
    'ranges',
    [{}, {'flops': (300_000, 600_000), 'params': (None, 12_000)}, {'flops': (1_000_000, None)}],
)
@pytest.mark.parametrize('objectives', [('score', 'flops'), ('params', 'flops', 'score')])
def test_candidates_are_feasible_and_never_repeat(nsga2, ranges, objectives):
    strategy = nsga2(ranges=ranges, objectives=objectives)
    asked = list(chain(*search(strategy, 5)))
    assert len(asked) == len(set(asked)) == 100
    assert all(map(strategy.constraints.feasible, asked))


def test_the_order_of_told_scores_does_not_matter(nsga2):
    one, other = nsga2(), nsga2()
    candidates = one.ask()
    one.tell({s: round(score(s)) for s in candidates})  # with ties
    other.tell({s: round(score(s)) for s in reversed(candidates)})
    assert one.ask() == other.ask()


def test_draws_leave_the_global_generators_alone(nsga2):
    state, of_numpy = random.getstate(), np.random.get_state()[1].tolist()
    search(nsga2(), 3)
    assert random.getstate() == state
    assert np.random.get_state()[1].tolist() == of_numpy


def test_another_process_asks_the_same():
    """Whatever its hash seed."""
    code = (
        'from conftest import TINY_CLASSES, TINY_ROWS; from searches import search\n'
        'from mmrazor_bignas.search import NSGA2, Constraints\n'
        'from mmrazor_bignas.search_space import CostTable, SearchSpace\n'
        'space = SearchSpace.from_dict(TINY_ROWS)\n'
        'strategy = NSGA2(space, Constraints(space, CostTable(space, TINY_CLASSES), {}), 20)\n'
        'print([space.values(s) for generation in search(strategy, 4) for s in generation])\n'
    )
    asked = [
        subprocess.run(
            [sys.executable, '-c', code],
            env={'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}', 'PYTHONHASHSEED': seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ('1', '2')
    ]
    assert asked[0] == asked[1] != ''


# The front


@pytest.mark.parametrize('costs', [('flops',), ('params',), ('flops', 'params')])
def test_the_exact_front_is_found_in_a_part_of_the_space(nsga2, tiny_space, cost, costs):
    strategy = nsga2(ranges={}, objectives=('score', *costs), population=50)
    search(strategy, 14)
    all_scores = {subnet: score(subnet) for subnet in tiny_space.enumerate()}
    assert len(strategy.scores) < len(all_scores) / 2
    assert set(front(cost, strategy.scores, *costs)) == set(front(cost, all_scores, *costs))


def test_the_first_generation_spreads_over_the_costs(nsga2, tiny_space, cost):
    founders = nsga2(population=80).ask()
    assert founders[0] == tiny_space.smallest
    assert {subnet.resolution for subnet in founders} == set(tiny_space.resolution)
    # As many in each third of the range, more or less.
    counts = [sum(i / 3 < cost(s).flops / 1_000_000 <= (i + 1) / 3 for s in founders) for i in range(3)]
    assert sum(counts) == 80
    assert min(counts) >= 15


def test_a_history_of_one_budget_is_used_and_left(nsga2, tiny_space, cost):
    """An earlier search knows what is best at one cost; children come from it, and the front still gets both ends."""
    earlier = Evolution(tiny_space, Constraints(tiny_space, cost, {'flops': (None, 1_000_000)}), 20)
    search(earlier, 5)
    narrow = {s: value for s, value in earlier.scores.items() if cost(s).flops > 900_000}
    strategy = nsga2(mutation_probability=0)
    strategy.tell(narrow)
    rows = [set(column) for column in zip(*map(tiny_space.values, narrow), strict=True)]
    asked = strategy.ask()
    crossed = [s for s in asked if all(v in row for v, row in zip(tiny_space.values(s), rows, strict=True))]
    assert len(crossed) >= 8
    assert asked[0] == tiny_space.smallest
    assert not set(asked) & set(narrow)


def test_parents_are_the_first_front_whenever_it_was_told(nsga2, tiny_space):
    """Of all subnets told, not of the last generation."""
    best = tiny_space.smallest
    strategy = nsga2(population=8, parents=1, mutation_probability=0.1, ranges={})
    strategy.tell({best: 100.0})
    for _ in range(3):
        strategy.tell({s: 0.0 for s in strategy.ask()})
    assert list(strategy._survivors()) == [best]


# Scores that are no numbers


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_no_parent_without_a_finite_score(nsga2, bad):
    strategy = nsga2(parents=5)
    first = strategy.ask()
    strategy.tell({s: bad if i % 2 else score(s) for i, s in enumerate(first)})
    second = strategy.ask()
    assert len(second) == 20
    assert not set(strategy._survivors()) & set(first[1::2])


def test_a_search_of_failures_goes_on(nsga2):
    strategy = nsga2()
    for _ in range(4):
        asked = strategy.ask()
        assert len(asked) == 20
        strategy.tell(dict.fromkeys(asked, math.nan))
    strategy.tell({s: score(s) for s in strategy.ask()})
    assert strategy.ask()


# Bad input


@pytest.mark.parametrize(
    ('objectives', 'match'),
    [
        ('score', "objectives is 'score'; expected 'score' and some of"),
        (None, "objectives is None; expected 'score'"),
        (('score',), "objectives is .*; expected 'score' and some of .*'flops', 'params'.*, each once"),
        (('flops', 'params'), 'objectives is .*; expected'),
        (('score', 'flops', 'flops'), 'objectives is .*; expected .* each once'),
        (('score', 'accuracy'), "objectives: 'accuracy' is unknown; expected some of .*'score', 'flops', 'params'"),
        (('score', ['flops']), 'objectives: .* is unknown'),
    ],
)
def test_objectives_are_the_score_and_costs(nsga2, objectives, match):
    with pytest.raises(InputError, match=f'NSGA2: {match}'):
        nsga2(objectives=objectives)


def test_a_cost_without_an_estimator_is_no_objective(nsga2):
    with pytest.raises(InputError, match='NSGA2: objectives: latency has no estimator'):
        nsga2(objectives=('score', 'latency'))


def test_objectives_of_a_list_become_a_tuple(nsga2):
    assert nsga2(objectives=['score', 'params']).objectives == ('score', 'params')


def test_without_pymoo_the_message_says_what_to_install(nsga2, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pymoo', None)
    with pytest.raises(InputError, match=r'NSGA2 needs pymoo: pip install mmrazor_bignas\[search\]'):
        nsga2()


def test_importing_the_searches_does_not_import_pymoo():
    code = 'import sys, mmrazor_bignas.search; print("pymoo" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == 'False\n'


@pytest.mark.parametrize('name', ['parents', 'mutation_probability', 'crossover_share'])
def test_numbers_are_checked(nsga2, name):
    with pytest.raises(InputError, match=f'NSGA2: {name} is -1'):
        nsga2(**{name: -1})
