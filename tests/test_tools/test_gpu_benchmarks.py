"""What is measured on a GPU: without one it says so, and it can be rehearsed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

BENCHMARKS = ROOT / 'benchmarks'


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1', **more}


@pytest.mark.parametrize('command', [['sh', 'gpu.sh'], [sys.executable, 'kernels.py']])
def test_without_a_gpu_one_line_says_so(command, tmp_path):
    command = [command[0], str(BENCHMARKS / command[1])]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert 'torch finds no GPU here: nothing was measured' in done.stdout.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_every_kernel_is_measured_in_a_rehearsal(tmp_path):
    command = [sys.executable, str(BENCHMARKS / 'kernels.py'), '--tiny', '--seconds', '300', '--out', str(tmp_path)]
    done = subprocess.run(
        command, env=environment(TRITON_INTERPRET='1'), cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary['failed'] == summary['not_tried'] == 0
    assert summary['tried'] >= 6
    assert len(summary['passes']) == 11
    for name, found in summary['passes'].items():
        assert found['failed'] == 0, name
        assert found['error'] < 0.05, name
    rows = json.loads((tmp_path / 'kernels.json').read_text())
    assert not [row for row in rows['rows'] if any(key.endswith('fault') for key in row)]


@pytest.mark.slow
def test_rows_are_measured_in_a_rehearsal_and_a_broken_one_stops_none(tmp_path):
    command = ['sh', str(BENCHMARKS / 'gpu.sh'), '--rehearse', '--out', str(tmp_path), '--peer', str(tmp_path)]
    done = subprocess.run(
        command, env=environment(BATCH='2'), cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])['rows']
    assert rows['fused bfloat16']['new_s'] > 0
    assert rows['nchw bfloat16']['way'] == 'nchw'
    assert "No module named 'models'" in rows["AttentiveNAS's, bfloat16"]['note']
    assert {path.name for path in tmp_path.iterdir()} == {'gpu.json', 'log.txt'}


@pytest.mark.slow
def test_a_row_ends_with_the_script(tmp_path):
    command = [
        sys.executable,
        '-u',
        str(BENCHMARKS / 'gpu_rows.py'),
        '--rehearse',
        '--batch',
        '2',
        '--out',
        str(tmp_path),
    ]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if 'images/s' in line:  # the header: the first row begins
            break
    children = []
    while not children:
        time.sleep(0.1)
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) != 0
    assert not [child for child in children if os.path.exists(f'/proc/{child}')]
