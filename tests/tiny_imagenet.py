"""Runs the tools as a user does, on a tiny ImageNet folder through the real configs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
BIGNAS = 'configs/nas/mmcls/bignas'
SUPERNET = f'{BIGNAS}/attentive_mobilenet_supernet_32xb64_in1k.py'
SEARCH = f'{BIGNAS}/attentive_mobilenet_search_8xb128_in1k.py'
SUBNET = f'{BIGNAS}/attentive_mobilenet_subnet_8xb256_in1k.py'
CLASSES = 6

# The real configs, for a machine without a GPU and a data set of a few images: fewer steps, lower resolutions.
SMALL = [
    f'algorithm.architecture.head.num_classes={CLASSES}',
    'algorithm.architecture.backbone.search_space.resolution=[32,48,64]',
]
TRAIN_OPTIONS = [
    *SMALL,
    'train_dataloader.batch_size=10',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_cfg.max_epochs=1',
    'val_dataloader.num_workers=0',
    'val_cfg.calibrate_dataloader.num_workers=0',
    'val_cfg.calibrate_sample_num=8',
]
SEARCH_OPTIONS = [
    *SMALL,
    'val_dataloader.num_workers=0',
    'val_cfg.calibrate_dataloader.num_workers=0',
    'val_cfg.calibrate_dataloader.batch_size=8',
    'val_cfg.calibrate_sample_num=8',
    'val_cfg.strategy.population=2',
    'val_cfg.strategy.parents=1',
    'val_cfg.generations=2',
    'val_cfg.constraints.flops=[0,30e6]',
]
TEST_OPTIONS = [
    *SMALL,
    'test_dataloader.num_workers=0',
    'test_cfg.calibrate_dataloader.num_workers=0',
    'test_cfg.calibrate_dataloader.batch_size=8',
    'test_cfg.calibrate_sample_num=8',
]


def run(*words: str | Path, cwd: Path = ROOT, timeout: int = 240, **env: str) -> SimpleNamespace:
    """Run a tool of this checkout; its exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, str(ROOT / words[0]), *map(str, words[1:])],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def error_of(result: SimpleNamespace) -> str:
    """The message of a run that must have failed with one, and no traceback."""
    assert result.code == 1, result.out[-2000:] + result.err[-2000:]
    assert 'Traceback' not in result.err, result.err[-3000:]
    assert 'error: ' in result.err
    return result.err.split('error: ', 1)[1]


def make_imagenet(root: Path) -> Path:
    """Write JPEG files of 6 classes that differ in colour, meta/train.txt and meta/val.txt below ``root``."""
    rng = np.random.RandomState(0)
    for split, per_class in (('train', 6), ('val', 3)):
        lines = []
        for label in range(CLASSES):
            folder = root / 'data/imagenet' / split / f'n{label:04d}'
            folder.mkdir(parents=True)
            for i in range(per_class):
                image = rng.randint(0, 60, (80, 96, 3), dtype=np.uint8)
                image[..., label % 3] += 60 + 80 * (label // 3)
                name = f'{i}.JPEG'
                assert cv2.imwrite(str(folder / name), image)
                # In the validation set of ImageNet, all images lie in one folder; a subfolder is as good.
                lines.append(f'n{label:04d}/{name} {label}')
        meta = root / 'data/imagenet/meta'
        meta.mkdir(exist_ok=True)
        (meta / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    return root


@pytest.fixture(scope='session')
def imagenet(tmp_path_factory) -> Path:
    """A folder to run in, with data/imagenet below it and the configs beside it."""
    root = make_imagenet(tmp_path_factory.mktemp('imagenet'))
    (root / 'configs').symlink_to(ROOT / 'configs')
    return root


@pytest.fixture(scope='session')
def trained(imagenet) -> SimpleNamespace:
    """One epoch of the real training config; its checkpoint and output."""
    work_dir = imagenet / 'work_dirs/train'
    result = run('tools/train.py', SUPERNET, work_dir, '--cfg-options', *TRAIN_OPTIONS, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    return SimpleNamespace(work_dir=work_dir, checkpoint=work_dir / 'epoch_1.pth', **vars(result))


@pytest.fixture(scope='session')
def searched(imagenet, trained) -> SimpleNamespace:
    """The real search config on that checkpoint; its work dir and output."""
    work_dir = imagenet / 'work_dirs/search'
    words = ['--checkpoint', trained.checkpoint, '--work-dir', work_dir, '--cfg-options', *SEARCH_OPTIONS]
    result = run('tools/train.py', SEARCH, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    return SimpleNamespace(work_dir=work_dir, **vars(result))
