"""From another project's file to a tested subnet, through the real configs."""

import json

import parity
import pytest
import reference_network
import torch
from tiny_imagenet import SUBNET, SUPERNET, error_of, run

from mmrazor_bignas import get_subnet

NO_WORKERS = ['test_dataloader.num_workers=0', 'test_cfg.calibrate_dataloader.num_workers=0']


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """A file as AttentiveNAS releases it, with made-up weights."""
    path = tmp_path_factory.mktemp('official') / 'attentive_nas_pretrained.pth.tar'
    weights = reference_network.weights(parity.keys('attentivenas'))
    torch.save({'state_dict': {f'module.{key}': value for key, value in weights.items()}}, path)
    return path


@pytest.fixture(scope='module')
def converted(official):
    path = official.with_name('converted.pth')
    result = run('tools/model_converters/convert_attentivenas.py', official, path)
    assert result.code == 0, result.err[-2000:]
    assert ' 1,468 tensors\n' in result.out
    return path


def metrics_of(imagenet, tmp_path, checkpoint, *options):
    out = tmp_path / 'out.json'
    result = run('tools/test.py', SUBNET, checkpoint, '--work-dir', tmp_path, '--out', out, '--cfg-options',
                 *NO_WORKERS, *options, cwd=imagenet)  # fmt: skip
    assert result.code == 0, result.err[-2000:]
    return json.loads(out.read_text())


@pytest.mark.slow
def test_a_published_subnet_of_a_converted_supernet(imagenet, converted, tmp_path):
    metrics = metrics_of(imagenet, tmp_path, converted)
    assert (metrics['found'], metrics['flops'], metrics['params']) == ('supernet', 203_389_568, 8_954_184)
    mmrazor = tmp_path / 'mmrazor.yaml'
    words = ('attentivenas-a0', mmrazor, '--to', 'mmrazor')
    assert run('tools/model_converters/convert_subnet.py', *words).out.endswith('203,389,568 FLOPs, 8,954,184 params\n')
    again = metrics_of(imagenet, tmp_path, converted, f'algorithm.mutable_cfg={mmrazor}')
    assert again == metrics


@pytest.mark.slow
def test_images_are_read_as_attentivenas_evaluates(imagenet, converted, tmp_path):
    """The options of the README reach the transforms."""
    options = [
        'test_dataloader.dataset.pipeline.1.interpolation=bilinear',
        'test_cfg.calibrate_dataloader.dataset.dataset.pipeline.1.interpolation=bilinear',
    ]
    metrics_of(imagenet, tmp_path, converted, *options)
    text = (tmp_path / 'attentive_mobilenet_subnet_8xb256_in1k.py').read_text()
    assert text.count("interpolation='bilinear'") == 2


def test_get_subnet_calibrates_where_the_images_are(imagenet, converted, monkeypatch, recwarn):
    monkeypatch.chdir(imagenet)
    calibrated = get_subnet('attentivenas-a0', checkpoint=converted)
    assert not [warning for warning in recwarn if 'calibrated' in str(warning.message)]
    raw = get_subnet('attentivenas-a0', checkpoint=converted, calibrate=False)
    assert torch.equal(calibrated.backbone.stem.conv.weight, raw.backbone.stem.conv.weight)
    assert not torch.equal(calibrated.backbone.stem.bn.running_mean, raw.backbone.stem.bn.running_mean)


def test_an_unconverted_file_names_the_converters(imagenet, official, tmp_path):
    words = ('tools/test.py', SUBNET, official, '--work-dir', tmp_path, '--cfg-options', *NO_WORKERS)
    assert 'converted first: bignas convert' in error_of(run(*words, cwd=imagenet))


@pytest.mark.slow
def test_errors_are_one_message(official, tmp_path):
    out = tmp_path / 'out.pth'
    for tool, source, message in (
        (
            'convert_mmrazor.py',
            official,
            'no supernet of MMRazor: its tensors are named as AttentiveNAS or AlphaNet does',
        ),
        ('convert_attentivenas.py', tmp_path, 'is a folder, not checkpoint file'),
        ('convert_attentivenas.py', SUPERNET, 'not a checkpoint'),
        ('convert_subnet.py', tmp_path / 'none.yaml', 'none.yaml: cannot read the subnet YAML'),
    ):
        assert message in error_of(run(f'tools/model_converters/{tool}', source, out))
        assert not out.exists()
