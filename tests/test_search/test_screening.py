"""Screening: proposals chosen by predictors that know only the scores told."""

import math
from random import Random

import pytest
from conftest import TINY_CLASSES
from searches import score, search

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search import CoarseToFine, Constraints, Evolution, RandomSearch, Screening
from mmrazor_bignas.search_space import CostTable

pytest.importorskip('sklearn')
BUDGET = 500_000


@pytest.fixture
def make(tiny_space):
    """A strategy on the tiny space that screens."""
    cost = CostTable(tiny_space, TINY_CLASSES)

    def make(kind=Evolution, **kwargs):
        constraints = Constraints(tiny_space, cost, {'flops': (None, BUDGET)})
        return kind(tiny_space, constraints, **{'population': 8, 'screen': {}, **kwargs})

    return make


def test_it_is_registered():
    assert TASK_UTILS.get('Screening') is Screening


@pytest.mark.parametrize('kind', [Evolution, RandomSearch, CoarseToFine])
def test_candidates_are_feasible_never_repeat_and_are_the_same_again(make, kind):
    strategy = make(kind)
    generations = search(strategy, 4)
    asked = [subnet for generation in generations for subnet in generation]
    assert len(asked) == len(set(asked)) >= 28  # a generation of skeletons may be smaller
    assert all(map(strategy.constraints.feasible, asked))
    assert search(make(kind), 4) == generations


def test_the_order_of_what_was_told_does_not_matter(make):
    one, other = make(), make()
    told = {subnet: score(subnet) for subnet in one.ask()}
    one.tell(told)
    other.tell(dict(reversed(told.items())))
    assert one.ask() == other.ask()


def test_the_first_generation_is_not_screened(make):
    plain, screened = search(make(screen=None), 2), search(make(), 2)
    assert plain[0] == screened[0]
    assert plain[1] != screened[1]


def test_the_best_predicted_are_chosen_and_the_unscreened_come_first(make, tiny_space):
    subnets = list(tiny_space.enumerate())[::7]
    known, new = {s: score(s) for s in subnets[::2]}, subnets[1::2]
    strategy = make(screen={'unscreened': 0.25})
    chosen = strategy.screening.choose(new, known, 8, Random(0))
    assert len(set(chosen)) == 8
    assert chosen[:2] == new[:2]
    ranked = sorted(new, key=score, reverse=True)
    assert all(ranked.index(subnet) < len(ranked) / 4 for subnet in chosen[2:])
    assert strategy.screening.choose(new[:5], known, 8, Random(0)) == new[:5]


def test_a_score_that_is_not_a_number_is_left_out(make):
    strategy = make()
    for _ in range(3):
        asked = strategy.ask()
        strategy.tell({subnet: math.nan if i == 0 else score(subnet) for i, subnet in enumerate(asked)})
    assert len(strategy.ask()) == 8


def test_every_resolution_has_parents(make, tiny_space):
    strategy = make(parents=7, parents_of_resolution=2, population=40)
    strategy.tell({subnet: float(subnet.resolution) for subnet in tiny_space.enumerate()})
    sides = [subnet.resolution for subnet in strategy._parents()]
    assert len(sides) == len(set(strategy._parents())) == 7
    assert all(sides.count(side) >= 2 for side in tiny_space.resolution)


@pytest.mark.parametrize('screen', [{'factor': 0}, {'factor': 2.0}, {'unscreened': 1.5}, {'unscreened': True}])
def test_bad_numbers(make, screen):
    ((name, value),) = screen.items()
    with pytest.raises(InputError, match=f'Screening: {name} is {value}; expected'):
        make(screen=screen)


@pytest.mark.parametrize('value', [-1, 9, 1.0, True])
def test_bad_parents_of_resolution(make, value):
    with pytest.raises(InputError, match=f'Evolution: parents_of_resolution is {value}; expected 0 to 8'):
        make(parents_of_resolution=value)


def test_without_scikit_learn_the_message_says_what_to_install(make, monkeypatch):
    monkeypatch.setattr('mmrazor_bignas.search.screening.find_spec', lambda name: None)
    with pytest.raises(InputError, match=r'screening needs scikit-learn: pip install mmrazor_bignas\[search\]'):
        make()
