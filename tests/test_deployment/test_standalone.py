"""examples/predict_onnx.py: a file in use where neither torch nor this package is."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from mmrazor_bignas import Predictor

pytestmark = pytest.mark.xdist_group('deployment')  # one process exports for all
SCRIPT = ROOT / 'examples/predict_onnx.py'
# As if they were not installed.
BLOCKED = """
import runpy, sys
sys.modules.update(dict.fromkeys(
    ['torch', 'torchvision', 'mmrazor_bignas', 'mmcls', 'mmcv', 'mmengine', 'cv2', 'onnx', 'scipy', 'yaml']
))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def run(*words) -> subprocess.CompletedProcess:
    command = [sys.executable, '-I', '-c', BLOCKED, str(SCRIPT), *map(str, words)]
    environ = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environ)


@pytest.mark.parametrize('name', ['model.onnx', pytest.param('plain.onnx', marks=pytest.mark.slow)])
def test_it_predicts_what_the_predictor_does(digits, file_of, tmp_path, name):
    (tmp_path / 'bad.png').write_text('no image')
    done = run(file_of(name), *digits.images, tmp_path / 'bad.png', '--top', 2)
    assert done.returncode == 0, done.stderr
    assert f'{tmp_path}/bad.png: cannot identify image file' in done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    expected = Predictor(file_of(name))(digits.images, top=2)
    assert len(found) == len(expected)
    for one, ours in zip(found, expected, strict=True):
        assert one['image'] == ours['image']
        for entry, other in zip(one['top'], ours['top'], strict=True):
            assert (entry['class'], entry['label']) == (other['class'], other['label'])
            assert entry['probability'] == pytest.approx(other['probability'], abs=1e-3)


def test_what_it_refuses(digits, file_of, tmp_path):
    (tmp_path / 'a.onnx').write_text('no model')
    (tmp_path / 'bad.png').write_text('no image')
    for words, message in (
        ([tmp_path / 'a.onnx', digits.images[0]], f'error: {tmp_path}/a.onnx: cannot be read as an ONNX model'),
        ([file_of('model.onnx'), tmp_path / 'bad.png'], 'error: none of 1 images can be used'),
    ):
        done = run(*words)
        assert done.returncode == 1
        assert message in done.stderr
        assert 'Traceback' not in done.stderr
