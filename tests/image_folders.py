"""Tiny image files in a folder per class, a config that trains on them, and ways to break a file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from conftest import ROOT, TINY_ROWS
from PIL import Image

LOAD = [{'type': 'LoadImageFromFile'}, {'type': 'PackClsInputs'}]
CONFIG = """
_base_ = [
    '{root}/configs/_base_/nas_backbones/attentive_mobilenet_v3_digits.py',
    '{root}/configs/_base_/schedules/digits_bs64_sgd.py',
    '{root}/configs/_base_/default_runtime.py',
]
_load = [dict(type='LoadImageFromFile'), dict(type='PackClsInputs')]
_train_set = dict(type={kind!r}, data_root={data!r}, data_prefix='train', pipeline=_load)
algorithm = dict(
    type='mmrazor_bignas.BigNAS',
    sampler=dict(type='mmrazor_bignas.SandwichSampler', num_random=0, seed=0),
    distillation=None,
    architecture=dict(
        backbone=dict(search_space=dict(_delete_=True, **{rows!r})),
        head=dict(num_classes={num_classes!r}),
    ),
)
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), dataset=_train_set
)
train_cfg = dict(max_epochs=1)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type={kind!r}, data_root={data!r}, data_prefix='val', pipeline=_load),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = dict(
    type='mmrazor_bignas.SubnetValLoop',
    subnets=['min'],
    calibrate_dataloader=dict(batch_size=4, num_workers=0, dataset=_train_set),
    calibrate_sample_num=6,
)
"""


def picture(seed: int, size: tuple[int, int] = (20, 24)) -> Image.Image:
    """Smooth colours, which compress with little loss."""
    colours = np.random.RandomState(seed).randint(0, 255, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size[::-1], Image.BILINEAR)


def encoded(image: Image.Image, kind: str = 'JPEG', **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_folders(root: Path, classes: Mapping[str, int], first_seed: int = 0) -> list[Path]:
    """Write as many JPEG files as asked into each class's folder; their paths, in the order of a data set."""
    paths = []
    for name, number in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(number):
            paths.append(root / name / f'{i:02d}.jpeg')
            paths[-1].write_bytes(encoded(picture(first_seed + len(paths))))
    return paths


def config_of(data: Path, num_classes: int | None = None, kind: str = 'ImageNet', extra: str = '') -> Path:
    """Write the config of a tiny training on ``train`` and ``val`` below a folder."""
    path = data.parent / 'training.py'
    text = CONFIG.format(root=ROOT, data=str(data), num_classes=num_classes, kind=kind, rows=TINY_ROWS)
    path.write_text(text + extra)
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def half_a_png(path: Path) -> None:
    content = encoded(picture(0, (60, 60)), 'PNG')
    path.write_bytes(content[: len(content) // 2])


BROKEN = {
    'truncated': (truncate, 'cannot be decoded as an image: no image, or cut off'),
    'half a PNG': (half_a_png, 'cannot be decoded as an image: no image, or cut off'),
    'no image': (
        lambda path: path.write_text('<html>404</html>'),
        'cannot be decoded as an image: no image, or cut off',
    ),
    'empty': (lambda path: path.write_bytes(b''), 'the file is empty'),
    'missing': (Path.unlink, 'no such file'),
    'a folder': (make_folder, 'is a folder, not a file'),
    'a loop': (link_to_itself, 'Too many levels of symbolic links'),
}
