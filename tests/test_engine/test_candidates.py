"""From a subnet to its record."""

import logging
import math

import pytest
from conftest import TINY_CLASSES

from mmrazor_bignas.engine import candidates as module
from mmrazor_bignas.engine.candidates import CandidateEvaluator
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import CostTable, LatencyTable, distinct_layers


@pytest.fixture
def candidates(tiny_supernet, tiny_space, monkeypatch):
    """An evaluator of candidates whose extraction and measurement are given."""

    def candidates(measure, score='accuracy/top1', latency=None):
        monkeypatch.setattr(module, 'extract_calibrated', lambda supernet, subnet, calibration, amp: subnet)
        monkeypatch.setattr(module, 'measure', lambda static, batches, evaluator, amp: measure(static))
        cost = CostTable(tiny_space, TINY_CLASSES, latency)
        return CandidateEvaluator(tiny_supernet, cost, [], [], None, score, False, logging.getLogger('test'))

    return candidates


def test_a_record_has_score_metrics_and_costs(candidates, tiny_space):
    metrics = {'accuracy/top1': 50.0, 'accuracy/top5': 90.0}
    record = candidates(lambda _: metrics).record(tiny_space.smallest)
    cost = CostTable(tiny_space, TINY_CLASSES)(tiny_space.smallest)
    assert record == {'score': 50.0, 'metrics': metrics, 'flops': cost.flops, 'params': cost.params}


def test_a_record_has_the_latency_where_there_is_a_table(candidates, tiny_space):
    layers = distinct_layers(tiny_space, TINY_CLASSES)
    table = LatencyTable({str(layer): 0.5 for layer in layers}, {}, tiny_space, TINY_CLASSES)
    record = candidates(lambda _: {'accuracy/top1': 1.0}, latency=table).record(tiny_space.smallest)
    assert record['latency'] == 0.5 * (2 + sum(tiny_space.smallest.depth))


def test_a_failure_is_recorded_with_its_error(candidates, tiny_space, caplog):
    def fail(_):
        raise RuntimeError('much before\nout of memory')

    record = candidates(fail).record(tiny_space.smallest)
    assert math.isnan(record['score'])
    assert record['error'] == 'RuntimeError: out of memory'
    assert record['metrics'] == {}
    assert record['flops'] > 0
    assert 'could not be evaluated' in caplog.text
    assert 'out of memory' in caplog.text


@pytest.mark.parametrize('error', [InputError('no such metric'), FileNotFoundError('image.JPEG')])
def test_what_befalls_every_candidate_is_raised(candidates, tiny_space, error):
    def fail(_):
        raise error

    with pytest.raises(type(error), match=str(error)):
        candidates(fail).record(tiny_space.smallest)


def test_an_unknown_score_says_what_is_measured(candidates, tiny_space):
    with pytest.raises(InputError, match=r"score is 'f1'; the evaluator measures \['accuracy/top1'\]"):
        candidates(lambda _: {'accuracy/top1': 1.0}, score='f1').record(tiny_space.smallest)
