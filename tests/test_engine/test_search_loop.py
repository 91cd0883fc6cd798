"""A candidate whose evaluation fails is recorded, and the search goes on; three in a row end it."""

import logging
import math
from types import SimpleNamespace

import pytest
from conftest import TINY_CLASSES

from mmrazor_bignas.engine import SearchLoop
from mmrazor_bignas.errors import InputError, SearchFailed
from mmrazor_bignas.search import History, read_history
from mmrazor_bignas.search_space import CostTable


@pytest.fixture
def evaluate(tiny_space, tmp_path):
    """Evaluates candidates that fail, or score 1, as said; returns the records."""

    def evaluate(fails, error=None):
        subnets = list(tiny_space.enumerate())[: len(fails)]
        failing = dict(zip(subnets, fails, strict=True))

        def record(subnet):
            if failing[subnet]:
                raise error or RuntimeError('out of memory')
            return {'score': 1.0, 'metrics': {}, 'flops': 1, 'params': 1}

        loop = SearchLoop.__new__(SearchLoop)
        loop._runner = SimpleNamespace(logger=logging.getLogger('test'))
        loop.generations, loop._failed, loop._record = 1, {}, record
        loop.cost = CostTable(tiny_space, TINY_CLASSES)
        loop._file = History(tmp_path / 'history.jsonl', {}, resume=False)
        history = {}
        loop._evaluate(subnets, 0, history)
        return [history[subnet] for subnet in subnets]

    return evaluate


def test_the_search_goes_on(evaluate, tmp_path, caplog):
    records = evaluate([False, True, True, False, True, True, False])
    assert [math.isnan(record['score']) for record in records] == [False, True, True, False, True, True, False]
    assert records[1]['error'] == 'RuntimeError: out of memory'
    assert records[1]['flops'] > 0
    assert 'could not be evaluated' in caplog.text
    assert 'RuntimeError: out of memory' in caplog.text
    assert [record.get('error') for record in read_history(tmp_path / 'history.jsonl').values()] == [
        record.get('error') for record in records
    ]


def test_three_failures_in_a_row_end_it(evaluate, tmp_path):
    with pytest.raises(SearchFailed, match='3 candidates in a row failed, the last with RuntimeError: out of memory'):
        evaluate([False, True, True, True, False])
    assert len(read_history(tmp_path / 'history.jsonl')) == 4  # nothing is lost


@pytest.mark.parametrize('error', [InputError('no such metric'), FileNotFoundError('image.JPEG')])
def test_what_befalls_every_candidate_ends_it(evaluate, error):
    with pytest.raises(type(error), match=str(error)):
        evaluate([True, False], error)
