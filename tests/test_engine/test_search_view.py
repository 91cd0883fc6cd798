"""What a search shows while it runs."""

import logging
import math
import re

import pytest
from conftest import TINY_CLASSES

from mmrazor_bignas.engine import progress
from mmrazor_bignas.engine import search_view as module
from mmrazor_bignas.engine.search_view import SearchView
from mmrazor_bignas.search import Constraints, RandomSearch
from mmrazor_bignas.search_space import CostTable


def record(score, **more):
    return {'score': score, 'flops': 2_500_000, 'params': 1234, **more}


@pytest.fixture
def view(tiny_space):
    constraints = Constraints(tiny_space, CostTable(tiny_space, TINY_CLASSES), {})
    strategy = RandomSearch(tiny_space, constraints, population=8)
    return SearchView('accuracy/top1', 3, strategy, logging.getLogger('test'))


def test_it_counts(view):
    view.strategy.ask()
    view.begin(0, 8, [])
    assert view.lines() == (
        'generation 1/3, 0 evaluated, 0 known, 8 feasible of 8 tried',
        'best accuracy/top1: none yet',
    )
    view.add([record(50.0), record(math.nan)])
    view.begin(1, 8, [record(60.0, latency=1.5)] * 3)
    assert view.lines() == (
        'generation 2/3, 2 evaluated, 3 known, 8 feasible of 8 tried',
        'best accuracy/top1 60.0000 at 2.50 MFLOPs, 1,234 params, 1.500 ms',
    )


def test_the_best_is_never_lost(view):
    view.see([record(math.nan)])
    assert view.best is None
    view.see([record(5.0), record(math.nan), record(7.0), record(6.0)])
    view.see([])
    view.see([record(math.nan), record(math.inf), record(1.0), {**record(7.0), 'flops': 1}])
    assert (view.best['score'], view.best['flops']) == (7.0, 1)


def test_the_time_left_is_that_of_what_is_not_known(view, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, 'monotonic', lambda: clock[0])
    view._start = 0.0
    view.begin(0, 8, [record(1.0)] * 6)
    clock[0] = 10.0
    view.add([record(1.0)] * 2)
    assert view.seconds_left == 5.0 * 16
    view.begin(2, 5, [])
    assert view.seconds_left == 5.0 * 5
    view.max_seconds = 17.0
    assert view.seconds_left == 7.0


def test_without_a_terminal_there_is_a_line_now_and_then(view, monkeypatch, caplog):
    monkeypatch.setattr(module, 'LINE_EVERY_SECONDS', -1)
    with caplog.at_level(logging.INFO), view:
        view.begin(0, 8, [])
        view.add([record(50.0)])
    assert re.search(r'generation 1/3, 1 evaluated, .* best accuracy/top1 50\.0000 .*; \d+ s left', caplog.text)


def test_on_a_terminal_there_are_bars_and_the_logs_lines_go_above(view, monkeypatch, capsys):
    monkeypatch.setattr(module, 'on_terminal', lambda: True)
    console = logging.StreamHandler(progress.sys.stderr)
    console.setLevel(logging.INFO)
    view.logger.handlers.append(console)
    view.logger.setLevel(logging.DEBUG)
    try:
        with view:
            view.begin(0, 8, [])
            view.add([record(50.0)])
            view.logger.info('a line')
            view.logger.debug('what nobody asked for')
        assert view.logger.handlers[-1] is console
    finally:
        view.logger.handlers.remove(console)
    shown = capsys.readouterr().err
    assert re.search(r'search: +4%.* 1/24 ', shown)
    assert 'generation 1/3, 1 evaluated' in shown
    assert 'a line' in shown
    assert 'nobody' not in shown
