"""Runs in one work dir at the same time, and Ctrl-C; with real processes and their workers."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from killed_runs import digits_config
from test_shell import PYTHON, free_port

QUICK = ['two_trainings', 'interrupted', 'twice']
SLOW = ['killed', 'interrupted_by_two', 'search']


def play(folder, names: list[str]) -> dict[str, dict]:
    done = subprocess.run(
        [sys.executable, ROOT / 'tests/interrupted_runs.py', folder, *names],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{ROOT}:{ROOT}/tests'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return dict(zip(names, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.fixture(scope='module')
def quick(tmp_path_factory):
    return play(tmp_path_factory.mktemp('quick'), QUICK)


@pytest.fixture(scope='module')
def slow(tmp_path_factory):
    return play(tmp_path_factory.mktemp('slow'), SLOW)


def test_a_second_training_is_refused_and_the_first_goes_on_undisturbed(quick):
    found = quick['two_trainings']
    assert found['first'] == [0]
    assert found['second'] == [1]
    assert 1 in found['third']  # which ends the other of the two
    assert 0 not in found['third']
    assert found['untouched']
    assert found['same']
    for said in found['said']:
        assert re.fullmatch(
            rf'train\.py: error: --work-dir \S+: process {found["pid"]} on \S+ \(since [^)]+\), or .*\n', said
        )


def test_a_first_interrupt_saves_the_step(quick):
    found = quick['interrupted']
    assert found['codes'] == [128 + signal.SIGINT]
    (saved,) = found['saved']
    said = found['said'].split('interrupted; saving ')[1]
    assert re.search(rf'\ntrain\.py: stopped by SIGINT; saved \S+/{saved}\n', said)
    assert 'Traceback' not in found['said']


def test_a_second_interrupt_leaves_at_once_and_half_a_file_has_no_name(quick):
    found = quick['twice']
    assert found['codes'] == [-signal.SIGINT]  # 130 to a shell
    assert found['saved'] == []
    assert found['half'] == ['.iter_5.pth.tmp']


@pytest.mark.slow
def test_a_killed_training_leaves_the_work_dir_free_although_its_workers_live(slow):
    assert slow['killed'] == {'first': [-signal.SIGKILL], 'alive': [True], 'second': [0], 'same': True}


@pytest.mark.slow
def test_two_ranks_save_the_same_step(slow):
    found = slow['interrupted_by_two']
    assert found['codes'] == [128 + signal.SIGINT] * 2
    assert len(found['saved']) == 1
    assert found['said'].count('press Ctrl-C again') == found['said'].count('stopped by SIGINT') == 1


@pytest.mark.slow
def test_a_second_search_is_refused_and_an_interrupted_one_goes_on(slow):
    found = slow['search']
    first, second, third = found['said']
    assert (found['second'], found['codes'], found['resumed']) == ([1], [128 + signal.SIGINT], [0])
    assert found['untouched']
    assert 'writes here' in second
    assert first.endswith('train.py: stopped by SIGINT\n')
    assert re.search('resumed: [1-9]', third)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('signals', 'saved'), [([signal.SIGINT], True), ([signal.SIGINT] * 2, False), ([signal.SIGUSR1], True)]
)
def test_torchrun_passes_signals_on(tmp_path, signals, saved):
    extra = 'default_hooks = dict(logger=dict(interval=1))'
    config, out = digits_config(tmp_path, workers=1, epochs=500, extra=extra), tmp_path / 'out.txt'
    words = ['sh', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', tmp_path / 'work', '--no-validate']
    with out.open('w') as file:
        run = subprocess.Popen(
            words,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, **PYTHON, 'PORT': free_port()},
        )
    limit = time.monotonic() + 120
    for signum, ready in zip(signals, ['Epoch(train)', 'press Ctrl-C again'], strict=False):
        while ready not in out.read_text():
            assert time.monotonic() < limit, out.read_text()
            assert run.poll() is None, out.read_text()
            time.sleep(0.05)
        os.killpg(run.pid, signum)
    assert run.wait(60) == 128 + signals[0]
    assert bool(list((tmp_path / 'work').glob('iter_*.pth'))) == saved
    assert ('; saved ' in out.read_text()) == saved
    assert 'Traceback' not in out.read_text()
