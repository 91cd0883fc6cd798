"""Rounds of a generation: failures, time, ranks."""

import json
import logging
import math
from types import SimpleNamespace

import pytest
from conftest import ROOT, TINY_CLASSES
from mmengine.dist import get_rank
from ranks import run_two_ranks

from mmrazor_bignas.engine import SearchLoop
from mmrazor_bignas.engine.search_view import SearchView
from mmrazor_bignas.errors import SearchFailed
from mmrazor_bignas.search import Constraints, History, RandomSearch, read_history
from mmrazor_bignas.search_space import CostTable, SearchSpace

# Two gloo processes: the second one's evaluations all fail.
WORKER = """
import json, sys
sys.path.insert(0, sys.argv[2])
from test_search_loop import loop_of
from mmengine.dist import get_rank
from ranks import run_two_ranks
from mmrazor_bignas.engine.distributed import start_processes, stop_processes
from mmrazor_bignas.errors import SearchFailed
from mmrazor_bignas.search_space import SearchSpace

start_processes('pytorch')
space = SearchSpace.from_dict(json.loads(sys.argv[3]))
loop, subnets, evaluate = loop_of(space, sys.argv[1], lambda i: get_rank() == 1, 12)
try:
    evaluate()
except SearchFailed as error:
    print(f'failed: {error}')
stop_processes()
"""


def loop_of(space, folder, fails, number, seconds=math.inf, take=0.0):
    """A loop over made-up candidates, dearest first; whether the i-th evaluation of this process fails is given."""
    logger = logging.getLogger('test')
    cost = CostTable(space, TINY_CLASSES)
    unsorted = list(space.enumerate())[:number]
    subnets = sorted(unsorted, key=lambda subnet: -cost(subnet).flops)
    evaluated = []

    def record(subnet):
        evaluated.append(subnet)
        clock[0] += take
        outcome = {'score': math.nan, 'error': 'out of memory'} if fails(len(evaluated) - 1) else {'score': 1.0}
        return {**outcome, 'metrics': {}, 'flops': cost(subnet).flops, 'params': 1}

    clock = [0.0]
    loop = SearchLoop.__new__(SearchLoop)
    loop._runner = SimpleNamespace(logger=logger)
    loop.constraints = Constraints(space, cost, {})
    loop.candidates = SimpleNamespace(record=record, evaluated=evaluated)
    loop._failed, loop._clock, loop._deadline = {}, lambda: clock[0], seconds
    loop._file = History(f'{folder}/history.jsonl', {}, resume=False) if get_rank() == 0 else None
    view = SearchView('score', 1, RandomSearch(space, loop.constraints, number), logger)
    history = {}
    return loop, subnets, lambda: (loop._evaluate(unsorted, 0, history, view), history)


@pytest.fixture
def evaluate(tiny_space, tmp_path):
    """Evaluates candidates that fail, or score 1, as said; returns the records."""

    def evaluate(fails):
        _, subnets, run = loop_of(tiny_space, tmp_path, fails.__getitem__, len(fails))
        _, history = run()
        return [history[subnet] for subnet in subnets]

    return evaluate


def test_the_search_goes_on(evaluate, tmp_path):
    fails = [False, True, True, False, True, True, False]
    records = evaluate(fails)
    assert [math.isnan(record['score']) for record in records] == fails
    assert [record.get('error') for record in read_history(tmp_path / 'history.jsonl').values()] == [
        record.get('error') for record in records
    ]


def test_three_failures_in_a_row_end_it(evaluate, tmp_path):
    with pytest.raises(SearchFailed, match='3 candidates in a row failed, the last with out of memory'):
        evaluate([False, True, True, True, False])
    assert len(read_history(tmp_path / 'history.jsonl')) == 4  # nothing is lost


def test_no_candidate_is_begun_when_the_time_is_over(tiny_space, tmp_path):
    loop, subnets, run = loop_of(tiny_space, tmp_path, lambda i: False, 10, seconds=25, take=10)
    in_time, history = run()
    assert not in_time
    assert list(history) == subnets[:3] == loop.candidates.evaluated
    assert list(read_history(tmp_path / 'history.jsonl')) == subnets[:3]


def test_all_in_time(tiny_space, tmp_path):
    _, subnets, run = loop_of(tiny_space, tmp_path, lambda i: False, 10, seconds=1000, take=10)
    assert run()[0]
    assert list(read_history(tmp_path / 'history.jsonl')) == subnets


def test_a_rank_that_always_fails_ends_the_search_on_all(tiny_rows, tmp_path):
    (tmp_path / 'worker.py').write_text(WORKER)
    words = [tmp_path / 'worker.py', tmp_path, ROOT / 'tests/test_engine', json.dumps(tiny_rows)]
    for out in run_two_ranks(*words):
        assert 'failed: the evaluation of 3 candidates in a row failed' in out
    # Of every round, by cost, the first rank took the first; its results are there as well as the failures.
    records = read_history(tmp_path / 'history.jsonl')
    _, subnets, _ = loop_of(SearchSpace.from_dict(tiny_rows), tmp_path, None, 12)
    assert list(records) == subnets[:6]
    assert ['error' in record for record in records.values()] == [False, True] * 3
