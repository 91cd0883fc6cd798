"""Images per CPU second that the ImageNet training reads and augments, against mmcls's own transforms.

python benchmarks/input_pipeline.py [--images 256] [--rounds 5] [--json]

Makes JPEG files of ImageNet's usual size (500 x 375) and passes over them by turns, with one thread. A first pass of
each is not counted.

mmcls: its transforms, AutoAugment with the sub-policies of 'v0'. ours: those of the ImageNet configs. With --json, the
last line is one object; its ratio is the median of the rounds'.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from mmcls.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from search_throughput import ROOT, make_images

import mmrazor_bignas.datasets  # noqa: F401  registers its transforms
from mmrazor_bignas.datasets.policies import POLICIES, RANGES
from mmrazor_bignas.engine.randomness import seeded

CONFIG = ROOT / 'configs/_base_/datasets/imagenet.py'
V0 = POLICIES['v0']
# The operations of 'v0' in mmcls, with the ranges of their magnitudes.
OPERATIONS = {
    'ShearX': dict(type='Shear', direction='horizontal', magnitude_range=(0, 0.3)),
    'ShearY': dict(type='Shear', direction='vertical', magnitude_range=(0, 0.3)),
    'TranslateYRel': dict(type='Translate', direction='vertical', magnitude_range=(0, 0.45)),
    'Rotate': dict(type='Rotate', magnitude_range=(0, 30)),
    'Color': dict(type='ColorTransform', magnitude_range=(-0.9, 0.9), random_negative_prob=0),
    'Posterize': dict(type='Posterize', magnitude_range=(3, 7)),  # rounded up
    'Solarize': dict(type='Solarize', magnitude_range=(0, 256)),
    'SolarizeAdd': dict(type='SolarizeAdd', magnitude_range=(0, 110)),
    'AutoContrast': dict(type='AutoContrast'),
    'Equalize': dict(type='Equalize'),
    'Invert': dict(type='Invert'),
}
GEOMETRIC = ('Shear', 'Translate', 'Rotate')


def operation(name: str, probability: float, magnitude: float) -> dict:
    """An operation of 'v0' as a transform of mmcls."""
    made = dict(OPERATIONS[name], prob=probability)
    if 'magnitude_range' in made:
        made.update(magnitude_level=magnitude, magnitude_std=V0.magnitude_std, total_level=RANGES['v0'])
    if made['type'] not in GEOMETRIC:
        return made
    made.update(pad_val=V0.fill)
    return dict(type='RandomChoice', transforms=[[dict(made, interpolation=mode)] for mode in V0.interpolation])


def pipelines() -> dict[str, list[dict]]:
    """The configs of mmcls's transforms and of ours, step by step the same."""
    policies = [[operation(*drawn) for drawn in sub_policy] for sub_policy in V0.table]
    return {
        'mmcls': [
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='AutoAugment', policies=policies),
            dict(type='PackClsInputs'),
        ],
        'ours': list(Config.fromfile(CONFIG)._train_pipeline),
    }


def seconds_per_step(steps: list, paths: list[str], turn: int) -> np.ndarray:
    """CPU seconds of every step, over all images."""
    seconds = np.zeros(len(steps))
    for i, path in enumerate(paths):
        results = {'img_path': path, 'gt_label': 0}
        with seeded(turn, i):
            for j, step in enumerate(steps):
                start = time.process_time_ns()
                results = step(results)
                seconds[j] += (time.process_time_ns() - start) / 1e9
    return seconds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Images per CPU second of the ImageNet training's transforms, against mmcls's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--images', type=int, default=256, help='JPEG files')
    parser.add_argument('--rounds', type=int, default=5, help='passes of each over all of them')
    parser.add_argument('--json', action='store_true', help='print one object as the last line')
    args = parser.parse_args()
    if args.images < 1 or args.rounds < 1:
        parser.error('expected --images and --rounds of 1 or more')
    return args


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    init_default_scope('mmcls')
    configs = pipelines()
    steps = {way: [TRANSFORMS.build(dict(step)) for step in config] for way, config in configs.items()}
    spent: dict[str, list[np.ndarray]] = {way: [] for way in steps}
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), args.images)
        paths = sorted(map(str, Path(folder).glob('train/*/*.jpg')))
        for turn in range(args.rounds + 1):
            for way in steps:
                spent[way].append(seconds_per_step(steps[way], paths, turn))
    per_image = {way: np.array(turns[1:]) / args.images for way, turns in spent.items()}
    rates = {way: 1 / turns.sum(axis=1) for way, turns in per_image.items()}
    ratios = rates['ours'] / rates['mmcls']

    print(f'{"CPU ms per image":20}' + ''.join(f'{way:>10}' for way in per_image))
    for j, step in enumerate(configs['mmcls']):
        print(f'{step["type"]:20}' + ''.join(f'{1e3 * median(turns[:, j]):10.3f}' for turns in per_image.values()))
    for way in rates:
        print(f'{way:6} {median(rates[way]):8.1f} images per CPU second')
    print(f'ratio  {median(ratios):8.3f}  of the rounds: {" ".join(f"{ratio:.3f}" for ratio in ratios)}')
    if args.json:
        per_second = {way: median(rates[way]) for way in rates}
        print(json.dumps({'ratio': median(ratios), 'ratios': ratios.tolist(), 'images_per_cpu_second': per_second}))


if __name__ == '__main__':
    main()
