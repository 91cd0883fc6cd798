"""Predictor and bignas predict: the scores of tools/test.py, and files that are something else."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT

import mmrazor_bignas
from mmrazor_bignas import Predictor
from mmrazor_bignas.commands import predict
from mmrazor_bignas.commands import test as test_tool
from mmrazor_bignas.deployment.card import VERSION
from mmrazor_bignas.errors import InputError

pytestmark = pytest.mark.xdist_group('deployment')  # one process exports for all
FILES = ['model.pth', 'model.onnx', pytest.param('plain.onnx', marks=pytest.mark.slow)]


@pytest.fixture(scope='module')
def scores_of_the_test(digits, tmp_path_factory) -> np.ndarray:
    """What tools/test.py itself scores the test digits with, (images, classes)."""
    folder = tmp_path_factory.mktemp('test')
    words = [str(digits.config), str(digits.checkpoint), '--work-dir', str(folder), '--cfg-options']
    words.append(f"test_evaluator={{'_delete_': True, 'type': 'DumpResults', 'out_file_path': '{folder}/scores.pkl'}}")
    test_tool.main(test_tool.build_parser().parse_args(words))
    results = pickle.loads((folder / 'scores.pkl').read_bytes())
    return torch.stack([one['pred_label']['score'] for one in results]).numpy()


def probabilities(results: list[dict]) -> np.ndarray:
    """(images, classes), in the order of the labels."""
    found = np.zeros((len(results), 10))
    for row, result in zip(found, results, strict=True):
        for one in result['top']:
            row[one['label']] = one['probability']
    return found


@pytest.mark.parametrize('name', FILES)
def test_probabilities_are_those_of_the_test(digits, file_of, scores_of_the_test, name):
    predictor = Predictor(file_of(name))
    found = predictor(digits.images, top=10, batch_size=7)
    assert [one['image'] for one in found] == digits.images
    expected = scores_of_the_test[: len(digits.images)]
    assert np.ptp(expected, axis=0).max() > 0.1  # images differ
    np.testing.assert_allclose(probabilities(found), expected, rtol=0, atol=1e-5)
    assert predictor.classes == digits.classes


def test_the_likeliest_come_first_with_their_names(digits, file_of):
    (one,) = Predictor(file_of('model.pth'))(digits.images[0], top=3)
    values = [entry['probability'] for entry in one['top']]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3
    assert all(entry['class'] == digits.classes[entry['label']] for entry in one['top'])


def test_arrays_are_as_good_as_files(digits, file_of):
    predictor = Predictor(file_of('model.pth'))
    arrays = [cv2.imread(path)[..., ::-1] for path in digits.images[:3]]
    found, expected = predictor(arrays), predictor(digits.images[:3])
    assert [one['top'] for one in found] == [one['top'] for one in expected]
    assert [one['image'] for one in found] == [0, 1, 2]
    with pytest.raises(InputError, match='image 0: img is float64'):
        predictor(np.zeros((3, 3, 3)))


def test_what_cannot_be_read_is_said_in_its_place(digits, file_of, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    names = [digits.images[0], str(tmp_path / 'a.png'), str(tmp_path / 'none.png'), digits.images[1]]
    found = Predictor(file_of('model.pth'))(names, batch_size=3)
    assert [one.get('error') for one in found] == [None, 'the file is empty', 'no such file', None]
    assert [one['image'] for one in found] == names


def test_an_image_of_another_size_is_said(digits, file_of, tmp_path):
    """Where no step fixes the size."""
    content = torch.load(file_of('model.pth'), weights_only=True)
    content['meta']['preprocessing']['steps'] = []
    torch.save(content, tmp_path / 'a.pth')
    (one,) = Predictor(tmp_path / 'a.pth')(digits.images[0])
    assert one['error'] == '8 x 8 pixels after the preprocessing; expected 32 x 32'


def test_a_checkpoint_of_a_search_needs_its_config(digits, file_of):
    with pytest.raises(InputError, match=r'does not say how its images are prepared .* name its config with --config'):
        Predictor(digits.checkpoint)
    found, expected = Predictor(digits.checkpoint, digits.config), Predictor(file_of('model.pth'))
    assert found(digits.images[:2]) == expected(digits.images[:2])


@pytest.mark.parametrize('options', [{'top': 0}, {'batch_size': 0}, {'top': 1.5}])
def test_numbers_that_are_none(digits, file_of, options):
    with pytest.raises(InputError, match='expected 1 or more'):
        Predictor(file_of('model.pth'))(digits.images[0], **options)


def test_importing_the_package_loads_no_torch():
    code = 'import sys, mmrazor_bignas; print("torch" in sys.modules, "Predictor" in mmrazor_bignas.__all__)'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['False', 'True']
    assert mmrazor_bignas.Predictor is Predictor


# Files that are something else


def with_meta(source: Path, target: Path, **changes) -> Path:
    """A copy of a checkpoint with other values in its meta; None takes one out."""
    content = torch.load(source, weights_only=True)
    content['meta'] = {key: value for key, value in {**content['meta'], **changes}.items() if value is not None}
    torch.save(content, target)
    return target


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'deployment_version': VERSION + 1}, f'in the form {VERSION + 1}; this is .*, which reads the form {VERSION}'),
        ({'subnet': None}, 'not of a subnet of this project, it says nothing of subnet; expected a file of bignas exp'),
        ({'mmrazor_bignas_version': None}, 'not of a subnet of this project'),
        ({'num_classes': 7}, 'not a checkpoint of this network'),
        ({'preprocessing': {'steps': 3}}, 'the preprocessing cannot be read'),
    ],
)
def test_checkpoints_of_another_version_or_project(file_of, tmp_path, changes, message):
    path = with_meta(file_of('model.pth'), tmp_path / 'a.pth', **changes)
    with pytest.raises(InputError, match=message) as error:
        Predictor(path)
    assert '\nTraceback' not in str(error.value)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('mmrazor_bignas_version', None, 'a.onnx: not of a subnet of this project'),
        ('deployment_version', '7', 'a.onnx: written by mmrazor_bignas .* in the form 7'),
        ('subnet', '{', 'a.onnx: its metadata subnet: '),
        ('preprocessing', None, 'does not say how its images are prepared .preprocessing.'),
    ],
)
def test_onnx_files_of_another_version_or_project(file_of, tmp_path, key, value, message):
    onnx = pytest.importorskip('onnx')
    model = onnx.load(file_of('model.onnx'))
    values = {one.key: one.value for one in model.metadata_props}
    del model.metadata_props[:]
    values = {**values, key: value, 'of another program': 'free text'}
    onnx.helper.set_model_props(model, {name: text for name, text in values.items() if text is not None})
    onnx.save(model, tmp_path / 'a.onnx')
    with pytest.raises(InputError, match=message):
        Predictor(tmp_path / 'a.onnx')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('none.pth', 'no such file'),
        ('folder', 'is a folder, not a file'),
        ('text.onnx', 'not an ONNX model, or cut off'),
        ('half.pth', 'unreadable or cut off'),
        ('half.onnx', 'not an ONNX model, or cut off'),
        ('model.pt', 'a file of TorchScript; expected an exported checkpoint'),
        pytest.param('model.pt2', 'a file of torch.export; expected an exported', marks=pytest.mark.slow),
    ],
)
def test_files_of_another_kind(file_of, tmp_path, name, message):
    path = tmp_path / name
    if name == 'folder':
        path.mkdir()
    elif name == 'text.onnx':
        path.write_text('no model')
    elif name.startswith('half'):
        content = file_of(f'model{path.suffix}').read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif name.startswith('model'):
        path = file_of(name)
    with pytest.raises(InputError, match=message):
        Predictor(path)


# The tool


def run_tool(*words) -> None:
    predict.main(predict.build_parser().parse_args(list(map(str, words))))


def test_lines_of_json(digits, file_of, tmp_path, capsys):
    (tmp_path / 'bad.jpg').write_text('no image')
    out = tmp_path / 'new/found.jsonl'
    folder = digits.folder / 'images'
    run_tool(file_of('model.pth'), tmp_path / 'bad.jpg', folder, '--top', 2, '--out', out)
    captured = capsys.readouterr()
    assert captured.out == ''
    assert f'{tmp_path}/bad.jpg: cannot be decoded as an image: no image, or cut off\n' in captured.err
    assert 'predict: 100%' in captured.err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines == Predictor(file_of('model.pth'))(digits.images, top=2)
    run_tool(file_of('model.pth'), digits.images[0], '--top', 2)
    assert json.loads(capsys.readouterr().out)['image'] == digits.images[0]


def test_nothing_that_can_be_read(file_of, tmp_path):
    (tmp_path / 'bad.jpg').write_text('no image')
    with pytest.raises(InputError, match='none of 1 images can be used'):
        run_tool(file_of('model.pth'), tmp_path / 'bad.jpg', '--out', tmp_path / 'a.jsonl')
    assert not (tmp_path / 'a.jsonl').exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--top', '0'], '--top 0: expected 1 or more'),
        (['--batch-size', '-1'], '--batch-size -1: expected 1 or more'),
        (['--out', 'a.json'], '--out a.json: lines of JSON are written; expected a name that ends in .jsonl'),
        ([], 'no image in the folder; expected files .*.jpeg'),
    ],
)
def test_words_that_do_not_fit(tmp_path, words, message):
    with pytest.raises(InputError, match=message):
        run_tool('model.pth', tmp_path, *words)
