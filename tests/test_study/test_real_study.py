"""A study of few images with the real commands: run, stopped, resumed, reported."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from conftest import ROOT
from fashion_files import write_fashion_files
from test_plan import STUDY

PARTS = 'dict(search=1 / 6, left_out=1 / 6)'  # 160 of 240 images to train on
CONFIGS = {
    'supernet.py': """
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=1))
train_dataloader = dict(batch_size=32, dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA)))
val_dataloader = dict(dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA)))
val_cfg = dict(
    calibrate_dataloader=dict(dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA))),
    calibrate_sample_num=64,
)
""",
    'alone.py': """
train_cfg = dict(max_epochs=2, val_interval=2)
train_dataloader = dict(batch_size=32, dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA)))
val_dataloader = dict(dataset=dict(data_prefix=DATA))
""",
    'search.py': """
val_dataloader = dict(dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA)))
val_cfg = dict(
    generations=1,
    strategy=dict(population=2, parents=1),
    calibrate_dataloader=dict(dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA))),
    calibrate_sample_num=64,
)
""",
    'subnet.py': """
test_dataloader = dict(dataset=dict(data_prefix=DATA))
test_cfg = dict(
    calibrate_dataloader=dict(dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA))),
    calibrate_sample_num=64,
)
""",
    'mobilenet_v3.py': """
train_cfg = dict(max_epochs=2, val_interval=2)
train_dataloader = dict(batch_size=32, dataset=dict(parts=PARTS, dataset=dict(data_prefix=DATA)))
val_dataloader = dict(dataset=dict(data_prefix=DATA))
""",
}
RUNS = ['sandwich-seed0', 'min-seed0', 'searched_small-seed0', 'mobilenet_v3_small-seed0']


@pytest.fixture
def small_study(tmp_path):
    """The study's file with a fiftieth of its work."""
    data = tmp_path / 'data'
    write_fashion_files(data, train=240, t10k=40)
    for name, changes in CONFIGS.items():
        base = f'_base_ = {str(STUDY.parent / name)!r}\n'
        (tmp_path / name).write_text(base + changes.replace('DATA', repr(str(data))).replace('PARTS', PARTS))
    content = yaml.safe_load(STUDY.read_text())
    content.update(seeds=[0], more_seeds=[], supernets={'sandwich': 'supernet.py'})
    content['baselines'].pop('efficientnet')
    path = tmp_path / 'study.yaml'
    path.write_text(yaml.safe_dump(content))
    return path


def command(study, *words) -> list[str]:
    tool = [sys.executable, str(ROOT / 'tools/study.py'), words[0], str(study)]
    return [*tool, '--records', str(study.parent / 'records'), *map(str, words[1:])]


@pytest.mark.slow
def test_a_study_that_is_stopped_goes_on_and_is_reported(small_study):
    work_dir, records = small_study.parent / 'work', small_study.parent / 'records'
    run = command(small_study, 'run', '--work-dir', work_dir, '--jobs', '2', '--only', *RUNS)
    first = subprocess.Popen(run, cwd=small_study.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = work_dir / 'sandwich-seed0/study.log'
    limit = time.monotonic() + 280
    while not (log.exists() and 'Saving checkpoint' in log.read_text()):
        assert first.poll() is None, first.stdout.read()
        assert time.monotonic() < limit, log
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    first.wait(60)
    assert first.returncode == 128 + signal.SIGTERM
    assert not (records / 'sandwich-seed0.json').exists()

    done = subprocess.run(run, cwd=small_study.parent, capture_output=True, text=True, timeout=280, env=os.environ)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {path.stem: json.loads(path.read_text()) for path in records.iterdir()}
    assert set(found) == set(RUNS)
    supernet = found['sandwich-seed0']
    assert len(supernet['starts']) == 2
    assert len(supernet['results']['shared']) == len(supernet['results']['uncalibrated']) == 8
    assert supernet['log']['train'][-1]['grad_norm'] > 0
    searched = found['searched_small-seed0']['results']
    assert searched['subnet'] == supernet['results']['subnets']['searched_small']
    assert searched['flops'] <= 400_000
    assert found['mobilenet_v3_small-seed0']['results']['flops'] == 403_608  # the classifier's 2,320 among them

    again = subprocess.run(run, cwd=small_study.parent, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0
    assert 'begun' not in again.stdout
    report = command(small_study, 'report', '--out', small_study.parent / 'results.md')
    done = subprocess.run(report, cwd=small_study.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    text = (small_study.parent / 'results.md').read_text()
    assert '4 of 11 runs are done' in text
    assert '| min | 224,120 |' in text
    assert (small_study.parent / 'fashion_mnist/budgets.png').exists()
