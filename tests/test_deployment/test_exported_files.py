"""bignas export: what is in a file, that it computes what the network does, and what is refused."""

import json
import shutil
import sys

import pytest
import torch
from deployed import export_file, export_words

from mmrazor_bignas import Predictor
from mmrazor_bignas.commands import export
from mmrazor_bignas.deployment import export as exporting
from mmrazor_bignas.deployment import formats
from mmrazor_bignas.deployment.card import from_texts
from mmrazor_bignas.deployment.checking import TOLERANCE, Agreement, compare, require
from mmrazor_bignas.deployment.formats import EXTRA, FORMATS, open_session
from mmrazor_bignas.engine.main import run_tool
from mmrazor_bignas.errors import ExportFailed, InputError

pytestmark = pytest.mark.xdist_group('deployment')  # one process exports for all
QUICK = ['model.pth', 'model.pt', 'model.onnx']
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ('model.pt2', 'plain.onnx')]


def card_in(path) -> dict:
    if path.suffix == '.onnx':
        return from_texts(open_session(path).get_modelmeta().custom_metadata_map, str(path))
    if path.suffix == '.pth':
        return torch.load(path, weights_only=True)['meta']
    extra = {EXTRA: ''}
    (
        torch.export.load(str(path), extra_files=extra)
        if path.suffix == '.pt2'
        else torch.jit.load(path, _extra_files=extra)
    )
    return json.loads(extra[EXTRA])


@pytest.mark.parametrize('name', [*QUICK, *SLOW])
def test_every_file_says_what_it_is(digits, file_of, name):
    card = card_in(file_of(name))
    assert card['subnet'] == digits.model.subnet.to_dict()
    assert card['search_space'] == digits.model.search_space.to_dict()
    assert (card['flops'], card['params']) == (digits.model.cost().flops, digits.model.cost().params)
    assert card['metrics'] == {'accuracy/top1': 12.5}
    assert card['dataset_meta'] == {'classes': digits.classes}
    assert card['preprocessing']['steps'] == [
        {'step': 'resize', 'height': 32, 'width': 32, 'interpolation': 'bicubic', 'backend': 'cv2'}
    ]
    assert card['preprocessing']['mean'] == [77.5] * 3
    assert card['input']['size'] == [32, 32]
    assert card['mmrazor_bignas_version']
    assert card.get('opset') == (18 if name.endswith('onnx') else None)
    assert card['folded'] == (name == 'model.onnx')


@pytest.mark.parametrize('number', [1, 3])
@pytest.mark.parametrize('name', ['model.pth', 'model.pt', *SLOW])
@torch.no_grad()
def test_a_file_computes_what_the_network_does_for_any_batch(digits, file_of, name, number):
    kind = next(one for one in FORMATS.values() if one.suffix == file_of(name).suffix)
    images = torch.randn(number, 3, 32, 32)
    expected, found = digits.model(images), kind.load(file_of(name))(images)
    assert found.shape == (number, 10)
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


@torch.no_grad()
def test_preprocessing_and_softmax_inside(digits, file_of):
    levels = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    in_bgr = levels.permute(0, 3, 1, 2).flip(1)
    expected = digits.model(digits.model.data_preprocessor({'inputs': in_bgr})['inputs']).softmax(1)
    found = FORMATS['onnx'].load(file_of('model.onnx'))(levels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_folding_leaves_no_batch_normalisation(file_of):
    onnx = pytest.importorskip('onnx')
    model = onnx.load(file_of('model.onnx'))
    onnx.checker.check_model(model, full_check=True)
    assert 'BatchNormalization' not in {node.op_type for node in model.graph.node}


def test_class_names_come_from_the_data_set_where_the_checkpoint_has_none(digits, tmp_path, capsys):
    words = export_words(digits, tmp_path / 'a.pth', 'pth')
    words[1] = str(digits.nameless)
    export.main(export.build_parser().parse_args(words))
    assert card_in(tmp_path / 'a.pth')['dataset_meta'] == {'classes': list('0123456789')}
    assert '256 test images: largest difference ' in capsys.readouterr().out


def test_mmcls_inferencer_takes_the_file(digits, tmp_path, monkeypatch):
    from mmcls import ImageClassificationInferencer

    monkeypatch.delattr(ImageClassificationInferencer, 'show_progress', raising=False)
    monkeypatch.delitem(sys.modules, 'mmrazor_bignas.deployment.mmcls_inferencer', raising=False)
    model, config = tmp_path / 'a.pth', tmp_path / 'a.py'
    export_file(digits, model, 'pth', '--mmcls-config', str(config))
    found = ImageClassificationInferencer(str(config), weights=str(model), device='cpu')(
        digits.images[:3], batch_size=2
    )
    for one, ours in zip(found, Predictor(model)(digits.images[:3], top=1), strict=True):
        assert one['pred_class'] == ours['top'][0]['class']
        assert one['pred_score'] == pytest.approx(ours['top'][0]['probability'], abs=1e-5)


# What is refused


@pytest.mark.parametrize(
    ('name', 'kind', 'words', 'message'),
    [
        ('a.pt', 'onnx', [], 'a.pt: expected a name that ends in .onnx for --format onnx'),
        ('folder.pth', 'pth', [], 'folder.pth: is a folder; name a file'),
        ('a.pth', 'pth', ['--softmax'], '--softmax: a checkpoint holds weights alone'),
        ('a.pth', 'pth', ['--with-preprocessing'], '--with-preprocessing: a checkpoint holds weights alone'),
        ('a.pt', 'torchscript', ['--int8'], '--int8: expected --format onnx, not torchscript'),
        ('a.onnx', 'onnx', ['--int8', '--max-loss', 'nan'], '--max-loss nan: expected 0 to 100 points'),
        ('a.pt', 'torchscript', ['--mmcls-config', 'a.py'], '--mmcls-config a.py: expected --format pth'),
    ],
)
def test_wishes_that_cannot_be_had(digits, tmp_path, name, kind, words, message):
    (tmp_path / 'folder.pth').mkdir()
    with pytest.raises(InputError) as error:
        export_file(digits, tmp_path / name, kind, *words)
    assert message in str(error.value)


def test_a_file_is_not_written_over_what_it_is_made_from(digits, monkeypatch):
    with pytest.raises(InputError, match='is what is read'):
        export_file(digits, digits.checkpoint, 'pth')


def test_a_missing_library_is_named_with_its_extra(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, 'find_spec', lambda name: None if name == 'onnxscript' else name)
    monkeypatch.setattr(sys, 'argv', ['export.py', *export_words(digits, tmp_path / 'a.onnx', 'onnx')])
    with pytest.raises(SystemExit) as stop:
        run_tool(export.main, export.build_parser())
    assert stop.value.code == ('export.py: error: --format onnx needs onnxscript: pip install mmrazor_bignas[onnx]')


def test_a_supernet_needs_a_subnet(digits, tmp_path):
    torch.save({'state_dict': {'architecture.a': torch.zeros(1)}}, tmp_path / 'supernet.pth')
    words = [str(digits.config), str(tmp_path / 'supernet.pth'), '--format', 'pth', '--out', str(tmp_path / 'a.pth')]
    with pytest.raises(InputError, match='does not say which subnet it is; --mutable-cfg names one'):
        export.main(export.build_parser().parse_args(words))


def test_a_file_that_computes_something_else_is_not_left(digits, tmp_path, monkeypatch):
    wrong = FORMATS['pth']._replace(load=lambda path: lambda images: digits.model(images) * 1.001)
    monkeypatch.setitem(FORMATS, 'pth', wrong)
    with pytest.raises(ExportFailed, match=r'largest difference 1.0e-03 .* expected at most 1e-04'):
        export_file(digits, tmp_path / 'a.pth', 'pth')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('found', 'difference', 'other'),
    [
        ([[1.0, 2.0]], 0.0, 0),
        ([[1.0, 2.0001]], 5e-5, 0),
        ([[2.0, 1.0]], 0.5, 1),
        ([[float('nan'), 2.0]], float('nan'), 0),
    ],
)
def test_agreement(digits, found, difference, other):
    card = {'input': {'dtype': 'uint8', 'channels': 'BGR'}}
    images = [(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None)]
    agreement = compare(lambda _: torch.tensor([[1.0, 2.0]]), lambda _: torch.tensor(found), images, card)
    assert agreement.difference == pytest.approx(difference, rel=1e-2, nan_ok=True)
    if difference == difference:
        assert agreement.other_classes == other
    if difference <= TOLERANCE:
        require(agreement, 'a')
    else:
        with pytest.raises(ExportFailed):
            require(agreement, 'a')


def test_a_tie_is_no_other_class():
    card = {'input': {'dtype': 'uint8', 'channels': 'BGR'}}
    images = [(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None)]
    scores = torch.tensor([[2.0, 2.00001]])
    assert compare(lambda _: scores, lambda _: scores.flip(1), images, card) == Agreement(
        1, pytest.approx(5e-6, rel=0.1), 0
    )


# int8


@pytest.mark.slow
def test_int8(digits, file_of, tmp_path, capsys):
    onnx = pytest.importorskip('onnx')
    export_file(digits, tmp_path / 'a.onnx', 'onnx', '--int8', '--max-loss', '100')
    out = capsys.readouterr().out
    assert 'top-1 on 719 test images: float32 ' in out
    assert ', int8 ' in out
    card = card_in(tmp_path / 'a.onnx')
    assert set(card['int8']['top1']) == {'float32', 'int8'}
    assert card['int8']['calibration_images'] == 64
    graph = onnx.load(tmp_path / 'a.onnx').graph
    weights = {one.name: one for one in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == 'Conv']
    dequantised = {node.output[0]: node for node in graph.node if node.op_type == 'DequantizeLinear'}
    for node in convolutions:
        weight = weights[dequantised[node.input[1]].input[0]]
        scale = weights[dequantised[node.input[1]].input[1]]
        assert weight.data_type == onnx.TensorProto.INT8
        assert scale.dims == [weight.dims[0]]  # one per channel
    small, whole = (Predictor(path)(digits.images, top=1) for path in (tmp_path / 'a.onnx', file_of('model.pth')))
    pairs = [(one['top'][0], other['top'][0]) for one, other in zip(small, whole, strict=True)]
    assert sum(one['label'] == other['label'] for one, other in pairs) >= 0.8 * len(pairs)
    assert sum(one['probability'] != other['probability'] for one, other in pairs) == len(pairs)


def test_int8_that_costs_too_much_is_not_left(digits, file_of, tmp_path, monkeypatch):
    source = file_of('model.onnx')
    (tmp_path / 'a.onnx').write_bytes(b'earlier')
    copied = FORMATS['onnx']._replace(write=lambda network, example, card, path: shutil.copy(source, path))
    monkeypatch.setitem(FORMATS, 'onnx', copied)
    monkeypatch.setattr(exporting, 'quantise', lambda source, target, *_: shutil.copy(source, target))
    monkeypatch.setattr(exporting, 'accuracies', lambda *_: {'float32': 90.0, 'int8': 88.5})
    with pytest.raises(ExportFailed, match=r'float32 90.00, int8 88.50; it loses 1.50 points, --max-loss allows 1'):
        export_file(digits, tmp_path / 'a.onnx', 'onnx', '--int8', '--softmax', '--with-preprocessing')
    assert (tmp_path / 'a.onnx').read_bytes() == b'earlier'
