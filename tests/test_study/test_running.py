"""Runs with commands that take no time."""

import json
import os
import re
import signal
import time
from dataclasses import replace
from datetime import datetime, timezone
from multiprocessing import get_context

import pytest
from test_plan import STUDY

from mmrazor_bignas.engine.learning_curve import TrainingLog
from mmrazor_bignas.engine.signals import Stopped, raised_signals
from mmrazor_bignas.engine.writer_lock import one_writer
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.study import running
from mmrazor_bignas.study.plan import Study
from mmrazor_bignas.study.records import read_records
from mmrazor_bignas.study.running import BIGNAS, LOG, RunFailed, StudyRunner


class QuickRunner(StudyRunner):
    """Each run is a program of one line; those named in ``fails`` end with an error."""

    fails: tuple[str, ...] = ()

    def commands(self, run):
        return [['-c', f'print("trained {run.name}"); raise SystemExit({3 if run.name in self.fails else 0})']]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    study = Study(STUDY)
    searched = {name: study.space.smallest.to_dict() for name in study.searched}
    rows = study.space.smallest.to_dict()
    found = {'supernet': {'subnets': searched}, 'alone': {'subnet': rows}}
    monkeypatch.setattr(running, 'collect', lambda study, run, _: found[run.kind])
    monkeypatch.setattr(running, 'read_training_log', lambda _: TrainingLog([], []))
    return QuickRunner(study, tmp_path / 'work', tmp_path / 'records', tmp_path, jobs=2, threads=1)


SOME = ['sandwich-seed0', 'min-seed0', 'bestup-seed0', 'searched_small-seed1']


def test_runs_leave_records_and_what_they_need_comes_first(runner, capsys):
    runner.run(SOME)
    printed = capsys.readouterr().out
    assert printed.index('sandwich-seed0: done') < printed.index('bestup-seed0: begun')
    records = read_records(runner.records)
    assert set(records) == set(SOME)
    assert records['bestup-seed0']['commands'][0].startswith('python -c')
    assert records['sandwich-seed0']['starts'][0]['at'] <= records['bestup-seed0']['starts'][0]['at']
    assert 'trained bestup-seed0' in (runner.work_dir / 'bestup-seed0' / LOG).read_text()
    yaml = runner.work_dir / 'subnets/searched_small.yaml'
    assert SubnetSpec.from_yaml(yaml) == runner.study.space.smallest
    assert len(runner.left()) == 56 - 4


def test_a_finished_run_is_not_repeated(runner):
    runner.run(SOME[:2])
    before = read_records(runner.records)
    runner.run(SOME[:3])
    after = read_records(runner.records)
    assert {name: after[name] for name in before} == before
    assert (runner.work_dir / 'min-seed0' / LOG).read_text().count('\ntrained') == 1


def test_a_run_that_fails_stops_only_those_that_need_it(runner):
    with pytest.raises(InputError, match='bestup-seed0 needs sandwich-seed0, which is not done; name it, too'):
        runner.run(['min-seed0', 'bestup-seed0'])
    assert not read_records(runner.records)
    runner.fails = ('sandwich-seed0',)
    with pytest.raises(RunFailed, match=r'(?s)sandwich-seed0: python -c .* ended with 3; .*trained sandwich-seed0'):
        runner.run(SOME)
    assert set(read_records(runner.records)) == {'min-seed0'}
    runner.fails = ()
    runner.run(SOME)
    records = read_records(runner.records)
    assert set(records) == set(SOME)
    assert [len(records[name]['starts']) for name in SOME] == [2, 1, 1, 1]


def test_what_was_begun_with_another_config_is_moved_aside(runner):
    runner.fails = ('min-seed0',)
    with pytest.raises(RunFailed):
        runner.run(['min-seed0'])
    runner.fails = ()
    starts = runner.work_dir / 'min-seed0/starts.json'
    starts.write_text(starts.read_text().replace('"digest": "', '"digest": "0'))
    runner.run(['min-seed0'])
    assert len(read_records(runner.records)['min-seed0']['starts']) == 1
    (aside,) = runner.work_dir.glob('min-seed0.*')
    assert (aside / LOG).exists()


def test_a_training_that_was_started_by_hand_is_not_moved(runner):
    with (
        one_writer(runner.work_dir / 'min-seed0'),
        pytest.raises(RunFailed, match=r'min-seed0: process .* writes here'),
    ):
        runner.run(['min-seed0'])
    assert [path.name for path in runner.work_dir.glob('min-seed0*')] == ['min-seed0']


def test_a_run_that_was_killed_lasted_until_its_last_line(runner):
    runner.fails = ('min-seed0',)
    with pytest.raises(RunFailed):
        runner.run(['min-seed0'])
    runner.fails = ()
    starts, log = (runner.work_dir / 'min-seed0' / name for name in ('starts.json', LOG))
    known = json.loads(starts.read_text())
    known['starts'][0].update(at='2026-01-01T00:00:00+00:00', seconds=0.0)
    starts.write_text(json.dumps(known))
    end = datetime(2026, 1, 1, 0, 1, 30, tzinfo=timezone.utc).timestamp()
    os.utime(log, (end, end))
    runner.run(['min-seed0'])
    record = read_records(runner.records)['min-seed0']
    assert record['starts'][0]['seconds'] == 90.0
    assert record['seconds'] == pytest.approx(90.0 + record['starts'][1]['seconds'])


@pytest.mark.parametrize('content', ['{', '{}', '[]'])
def test_starts_that_cannot_be_read(runner, content):
    path = runner.work_dir / 'min-seed0/starts.json'
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(RunFailed, match=r'starts\.json: not the starts of a run; remove '):
        runner.run(['min-seed0'])


def test_a_fault_of_the_program_is_not_hidden(runner, monkeypatch):
    monkeypatch.setattr(running, 'collect', lambda *_: {}['accuracy'])
    with pytest.raises(KeyError, match='accuracy'):
        runner.run(['min-seed0'])


def test_a_command_keeps_others_away_even_if_its_runner_is_killed(runner):
    code = 'import os, time; print(f"pid {os.getpid()} ", flush=True); time.sleep(60)'
    runner.commands = lambda run: [['-c', code]]
    killed = get_context('fork').Process(target=runner.run, args=(['min-seed0'],))
    killed.start()
    log, limit = runner.work_dir / 'min-seed0' / LOG, time.monotonic() + 60
    while not (log.exists() and (found := re.search(r'^pid (\d+) $', log.read_text(), re.MULTILINE))):
        assert time.monotonic() < limit
        time.sleep(0.05)
    killed.kill()
    killed.join()
    with pytest.raises(InputError, match=f'work: process {killed.pid} on .*, or what it started, writes here'):
        runner.run(['min-seed0'])
    os.kill(int(found[1]), signal.SIGKILL)


SAVES = """
import pathlib, signal, sys, time
received = []
for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, lambda signum, _: received.append(signum))
print('ready', flush=True)
while not received:
    time.sleep(0.01)
time.sleep(0.3)
sys.exit(f'saved after {received.count(signal.SIGINT)} interrupts')
"""


def test_an_interrupt_from_the_terminal_reaches_commands_once_and_they_may_save(runner):
    runner.commands = lambda run: [['-c', SAVES], ['-c', 'print("went on")']]
    log = runner.work_dir / 'min-seed0' / LOG
    if (pid := os.fork()) == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            with raised_signals():
                runner.run(['min-seed0'])
        except Stopped as stop:
            code = 128 + stop.signum
        finally:
            os._exit(code)
    limit = time.monotonic() + 60
    while not (log.exists() and log.read_text().endswith('ready\n')):
        assert time.monotonic() < limit
        time.sleep(0.05)
    os.killpg(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGINT
    assert 'saved after 1 interrupts' in log.read_text()
    assert 'went on' not in log.read_text()


def test_nothing_begins_after_the_time_is_up(runner):
    runner.run(SOME, until=time.monotonic() - 1)
    assert not read_records(runner.records)


def test_a_record_of_another_config_is_refused(runner):
    runner.run(['min-seed0'])
    path = runner.records / 'min-seed0.json'
    path.write_text(path.read_text().replace('"digest": "', '"digest": "0'))
    with pytest.raises(
        InputError, match=r'min-seed0\.json is of another config, or of other subnets, than .*alone\.py has now'
    ):
        runner.run(SOME)


def test_an_unknown_run_and_a_second_process(runner):
    with pytest.raises(InputError, match="no run 'nothing'"):
        runner.run(['nothing'])
    assert [run.name for run in runner.left(['min-seed1', 'bestup-seed0'])] == ['bestup-seed0', 'min-seed1']
    with one_writer(runner.work_dir), pytest.raises(InputError, match=r'work: process .* writes here'):
        runner.run(SOME)


def test_the_commands_of_each_kind_of_run(tmp_path):
    study = Study(STUDY)
    runner = StudyRunner(study, tmp_path, tmp_path / 'records', tmp_path, jobs=2, threads=1)
    runs = study.runs
    train, small, medium, evaluate, uncalibrated = runner.commands(runs[study.first])
    assert train[:3] == [*BIGNAS, 'train']
    assert small[:3] == medium[:3] == [*BIGNAS, 'search']
    assert 'val_cfg.constraints.flops=(0,400000)' in small
    assert str(tmp_path / 'sandwich-seed0/epoch_200.pth') in evaluate
    assert uncalibrated[-3:-1] == ['--statistics-of-largest', '--out']
    assert len([word for word in evaluate if word.endswith('.yaml')]) == 8
    train, evaluate = runner.commands(runs['uniform-seed1'])
    assert train[3].endswith('uniform.py')
    assert str(tmp_path / 'uniform-seed1/epoch_225.pth') in evaluate
    alone, calibrated = runner.commands(runs['random_small_1-seed1'])
    assert calibrated[-1] == str(tmp_path / 'random_small_1-seed1/alone.json')
    assert f'algorithm.mutable_cfg={tmp_path / "subnets/random_small_1.yaml"}' in alone
    assert 'randomness.seed=1' in alone
    (baseline,) = runner.commands(runs['efficientnet_medium-seed0'])
    assert 'algorithm.backbone.width=0.3' in baseline
    odd = replace(runs['efficientnet_medium-seed0'], options={'algorithm.name': 'a,b', 'algorithm.x': {'y': [None]}})
    assert runner.commands(odd)[0][-2:] == ["algorithm.name='a,b'", "algorithm.x={'y': [None]}"]
