"""How long a training of the ImageNet supernet waits for its images: JPEG files, decoded and augmented by workers.

python benchmarks/input_wait.py [--workers N] [--batch N] [--steps N] [--device cpu|cuda] [--dtype bfloat16|float32]

Files of ImageNet's usual size are made first. The data loader is a training's own; waiting is the time that its next
batch takes to come, after the first ones. On a GPU a step is waited for, so that none of its time is taken for waiting.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from search_throughput import make_images
from torch.utils.data import DataLoader
from train_step import WRAPPERS
from training_hours import CONFIG, ROOT, build_training, synchronize

from mmrazor_bignas.engine.precision import products_as_convolutions
from mmrazor_bignas.engine.train_batches import build_train_loader

WARM_UP = 3  # steps


def build_loader(folder: str, batch: int, workers: int) -> DataLoader:
    """The main config's loader of images in a folder of classes."""
    cfg = Config.fromfile(str(ROOT / CONFIG)).train_dataloader
    dataset = cfg.dataset.get('dataset', cfg.dataset)  # it may be a part of another
    dataset = {'type': 'CustomDataset', 'data_prefix': f'{folder}/train', 'pipeline': dataset.pipeline}
    return build_train_loader({**cfg, 'dataset': dataset, 'batch_size': batch, 'num_workers': workers}, seed=0)


def measure(args: argparse.Namespace, folder: str) -> dict[str, float]:
    """Seconds of the steps and of waiting, and the images of a second."""
    device = torch.device(args.device)
    products_as_convolutions()
    algorithm, optim_wrapper = build_training(str(ROOT / CONFIG), WRAPPERS[args.dtype], device)
    loader = build_loader(folder, args.batch, args.workers)
    hub, waiting, began = MessageHub.get_current_instance(), 0.0, 0.0

    def batches() -> Iterator[dict]:
        for epoch in count():
            loader.batch_sampler.begin(epoch, 0)
            yield from loader

    source = batches()
    for step in range(WARM_UP + args.steps):
        if step == WARM_UP:
            waiting, began = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = next(source)
        waiting += time.perf_counter() - asked
        hub.update_info('iter', step)
        algorithm.train_step(batch, optim_wrapper)
        synchronize(device)
    seconds = time.perf_counter() - began
    return {
        'step_s': seconds / args.steps,
        'wait_s': waiting / args.steps,
        'wait_share': waiting / seconds,
        'images_per_second': args.batch * args.steps / seconds,
    }


def main() -> None:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description='The share of a training that waits for images.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cuda' if on_gpu else 'cpu')
    parser.add_argument('--dtype', choices=WRAPPERS, default='bfloat16' if on_gpu else 'float32')
    parser.add_argument('--batch', type=int, default=64 if on_gpu else 8, help='images per step')
    parser.add_argument('--workers', type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument('--steps', type=int, default=50 if on_gpu else 3, help=f'after {WARM_UP} to begin with')
    parser.add_argument('--files', type=int, default=512, help='to make; each epoch augments them anew')
    parser.add_argument('--json', action='store_true', help='end with a line of JSON')
    args = parser.parse_args()
    if args.device == 'cuda' and not on_gpu:
        parser.error('--device cuda: torch finds no GPU')
    if args.files < args.batch:
        parser.error('expected as many --files as --batch, or more')
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), args.files, 0)
        found = measure(args, folder)
    where = torch.cuda.get_device_name() if args.device == 'cuda' else 'CPU'
    print(f'{where}; torch {torch.__version__}; {args.batch} images, {args.dtype}, {args.workers} workers')
    print(
        f'a step {found["step_s"]:.3f} s, of it waiting {found["wait_s"]:.3f} s ({100 * found["wait_share"]:.1f} %); '
        f'{found["images_per_second"]:,.0f} images/s'
    )
    if args.json:
        print(json.dumps(found))


if __name__ == '__main__':
    main()
