"""An exported network of the digits: a tiny random one, its checkpoint, files made from it, and digits as PNG files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch
from conftest import ROOT, TINY_ROWS, randomise

CONFIG = """
_base_ = ['{root}/configs/demo/digits_subnet.py']
algorithm = dict(architecture=dict(backbone=dict(search_space=dict(_delete_=True, **{rows!r}))))
test_cfg = dict(calibrate_sample_num=64)
"""
PICTURES = 24


def export_words(digits: SimpleNamespace, out: Path, kind: str, *words: str) -> list[str]:
    """The command line of an export of the digits' network."""
    return [str(digits.config), str(digits.checkpoint), '--format', kind, '--out', str(out), *words]


def export_file(*args) -> None:
    """Export as the tool does, in this process."""
    from mmrazor_bignas.commands import export

    export.main(export.build_parser().parse_args(export_words(*args)))


@pytest.fixture(scope='session')
def digits(tmp_path_factory) -> SimpleNamespace:
    """Config, checkpoint and network; ``images`` are test digits as PNG files, ``labels`` theirs."""
    from mmengine.registry import init_default_scope

    from mmrazor_bignas.engine.calibration import calibrate_batch_norm
    from mmrazor_bignas.engine.checkpoints import save_atomically, subnet_checkpoint
    from mmrazor_bignas.engine.datasets import build_dataset
    from mmrazor_bignas.engine.loops import calibration_batches
    from mmrazor_bignas.engine.runner import load_config
    from mmrazor_bignas.engine.unreadable import innermost
    from mmrazor_bignas.registry import MODELS

    folder = tmp_path_factory.mktemp('deployed')
    config = folder / 'subnet.py'
    config.write_text(CONFIG.format(root=ROOT, rows=TINY_ROWS))
    cfg = load_config(str(config))
    init_default_scope('mmcls')
    torch.manual_seed(0)
    model = MODELS.build(cfg.algorithm)
    randomise(model)
    # Without statistics of their own all images get nearly the same scores.
    loader = cfg.test_cfg.calibrate_dataloader
    calibrate_batch_norm(model, calibration_batches(loader, cfg.test_cfg.calibrate_sample_num, 0))
    torch.nn.init.normal_(model.head.fc.weight, std=2)
    model.eval()
    classes = list('0123456789')
    save_atomically(subnet_checkpoint(model, {'accuracy/top1': 12.5}, classes), folder / 'min.pth')
    save_atomically(subnet_checkpoint(model, {}), folder / 'nameless.pth')
    dataset = build_dataset(cfg.test_dataloader.dataset)
    (folder / 'images').mkdir()
    images, labels = [], []
    for index in range(PICTURES):
        source, place = innermost(dataset, index)
        info = source.get_data_info(place)
        images.append(str(folder / f'images/{index:03d}.png'))
        labels.append(info['gt_label'])
        assert cv2.imwrite(images[-1], info['img'])
    return SimpleNamespace(
        folder=folder,
        config=config,
        cfg=cfg,
        checkpoint=folder / 'min.pth',
        nameless=folder / 'nameless.pth',
        model=model,
        classes=classes,
        images=images,
        labels=labels,
    )


FILES = {
    'model.pth': ['pth'],
    'model.pt': ['torchscript'],
    'model.pt2': ['torch.export'],
    'model.onnx': ['onnx', '--fold-bn', '--softmax', '--with-preprocessing'],
    'plain.onnx': ['onnx'],
}


@pytest.fixture(scope='session')
def file_of(digits) -> Callable[[str], Path]:
    """A function that gives one of :data:`FILES`, exported at its first use."""

    @cache
    def find(name: str) -> Path:
        if name.endswith('.onnx'):
            pytest.importorskip('onnx')
        kind, *words = FILES[name]
        export_file(digits, digits.folder / name, kind, *words)
        return digits.folder / name

    return find
