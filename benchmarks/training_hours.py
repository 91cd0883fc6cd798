"""Measure a training step of the ImageNet supernet on this device, and say what the published recipe would take of it.

python benchmarks/training_hours.py [--batch-size N] [--steps N] [--amp]

On SLURM: srun -p $PARTITION --gres=gpu:1 --cpus-per-task=8 .venv/bin/python benchmarks/training_hours.py
Images are synthetic and stay in memory: what reading and augmenting them costs is not in the figures.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from random import Random

import torch
from mmcls.structures import ClsDataSample
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope

import mmrazor_bignas.engine  # noqa: F401  registers what a config can name
from mmrazor_bignas.algorithms import BigNAS
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/nas/mmcls/bignas/attentive_mobilenet_supernet_32xb64_in1k.py'
TRAIN_IMAGES = 1_281_167 * 127 // 128  # ImageNet's, less the part that scores candidates
EPOCHS = 360  # AttentiveNAS (arXiv:2011.09011), as is the total batch
TOTAL_BATCH = 2048
PASSES = 3  # a forward and a backward pass of about twice its cost
PROCESSES = (1, 8, 32)
SAMPLED_SUBNETS = 2000
CURVES = 14  # numbers that a checkpoint keeps of every step: five losses, four accuracies, a norm, two rates, two times
IMAGENET_GB = (138 + 6.3) * 2**30 / 1e9  # published sizes of the training and the validation archive, which are GiB


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Seconds per BigNAS training step on this device, and hours and disk of the whole training.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    on_gpu = torch.cuda.is_available()
    parser.add_argument('--config', default=str(ROOT / CONFIG), help='config of the training')
    parser.add_argument('--batch-size', type=int, default=64 if on_gpu else 8, help='images per step of a process')
    parser.add_argument('--warmup', type=int, default=5 if on_gpu else 1, help='steps before the timed ones')
    parser.add_argument('--steps', type=int, default=50 if on_gpu else 5, help='timed steps')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, as --amp of tools/train.py')
    args = parser.parse_args()
    if args.batch_size < 2 or args.warmup < 0 or args.steps < 1:
        parser.error('expected --batch-size of 2 or more, --warmup of 0 or more, --steps of 1 or more')
    return args


def build_training(config: str, wrapper: str, device: torch.device, **options) -> tuple[BigNAS, OptimWrapper]:
    """The algorithm, with more options, and the optimizer of a config, at the rate that its warm-up begins with."""
    cfg = load_config(config)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    algorithm = MODELS.build({**cfg.algorithm, **options}).to(device).train()
    cfg.optim_wrapper.type = wrapper
    cfg.optim_wrapper.optimizer.lr *= 0.001
    MMLogger.get_current_instance().setLevel('WARNING')  # a line per parameter
    return algorithm, build_optim_wrapper(algorithm, cfg.optim_wrapper)


def synthetic_batch(size: int, num_classes: int) -> dict:
    """A batch as the data loader gives it: uint8 images of 224 x 224 pixels and labels, on the CPU."""
    images = torch.randint(0, 256, (size, 3, 224, 224), dtype=torch.uint8)
    if torch.cuda.is_available():
        images = images.pin_memory()
    labels = [ClsDataSample().set_gt_label(i % num_classes) for i in range(size)]
    return {'inputs': images, 'data_samples': labels}


def time_steps(
    algorithm: BigNAS, optim_wrapper: OptimWrapper, batch: dict, warmup: int, steps: int, device: torch.device
) -> list[float]:
    """Seconds of every timed step. Each ends when its loss is known, as in a training."""
    hub = MessageHub.get_current_instance()
    seconds = []
    for step in range(warmup + steps):
        hub.update_info('iter', step)
        synchronize(device)
        began = time.perf_counter()
        losses = algorithm.train_step(dict(batch), optim_wrapper)
        float(losses['loss'])
        synchronize(device)
        if step >= warmup:
            seconds.append(time.perf_counter() - began)
    return seconds


def synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def macs_of_step(algorithm: BigNAS, step: int) -> int:
    """Multiply-adds for one image of the forward passes of a certain step."""
    subnets = algorithm.sampler(algorithm.search_space, step, score=None).values()
    return sum(algorithm.architecture.cost(subnet).flops for subnet in subnets)


def mean_macs_of_random(algorithm: BigNAS) -> float:
    """Mean multiply-adds of random subnets, the same ones each time."""
    rng = Random(0)
    sample = [algorithm.search_space.sample(rng) for _ in range(SAMPLED_SUBNETS)]
    return sum(algorithm.architecture.cost(subnet).flops for subnet in sample) / len(sample)


def checkpoint_bytes(algorithm: BigNAS, optim_wrapper: OptimWrapper) -> tuple[int, int]:
    """Size on disk of weights with momentum, and of the curves that the last checkpoint of a training has."""
    steps = TRAIN_IMAGES // TOTAL_BATCH * EPOCHS
    curves = {f'curve{i}': {'values': [0.5] * steps, 'counts': [1] * steps} for i in range(CURVES)}
    training = {'state_dict': algorithm.state_dict(), 'optimizer': optim_wrapper.state_dict()}
    return bytes_on_disk(training), bytes_on_disk(curves)


def bytes_on_disk(content: dict) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'checkpoint.pth'
        torch.save(content, path)
        return path.stat().st_size


def main() -> None:
    args = parse_args()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    wrapper = 'mmrazor_bignas.BFloat16OptimWrapper' if args.amp else 'mmrazor_bignas.OptimWrapper'
    algorithm, optim_wrapper = build_training(args.config, wrapper, device)
    batch = synthetic_batch(args.batch_size, algorithm.architecture.head.num_classes)
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    print(f'device                 {name}; torch {torch.__version__}, {"bfloat16" if args.amp else "float32"}')
    print(f'                       {args.warmup} + {args.steps} steps of {args.batch_size} images', flush=True)
    seconds = time_steps(algorithm, optim_wrapper, batch, args.warmup, args.steps, device)
    images_per_second = args.batch_size * len(seconds) / sum(seconds)
    print(f'seconds per step       {sum(seconds) / len(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})')
    print(f'images per second      {images_per_second:.2f}')
    if device.type == 'cuda':
        print(f'GPU memory, peak       {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB')
    timed = [macs_of_step(algorithm, step) for step in range(args.warmup, args.warmup + args.steps)]
    print_macs(algorithm, sum(timed) / len(timed), images_per_second)
    print_hours(images_per_second)
    print_disk(*checkpoint_bytes(algorithm, optim_wrapper))


def print_macs(algorithm: BigNAS, timed: float, images_per_second: float) -> None:
    space, cost, num_random = algorithm.search_space, algorithm.architecture.cost, algorithm.sampler.num_random
    randoms = mean_macs_of_random(algorithm)
    step = cost(space.largest).flops + num_random * randoms + cost(space.smallest).flops
    total = PASSES * step * TRAIN_IMAGES * EPOCHS
    print('\nmultiply-adds per image')
    print(f'  largest subnet       {cost(space.largest).flops / 1e6:,.1f} M')
    print(f'  random subnets       {num_random} x {randoms / 1e6:,.1f} M (mean of {SAMPLED_SUBNETS:,})')
    print(f'  smallest subnet      {cost(space.smallest).flops / 1e6:,.1f} M')
    print(f'  a step, forward      {step / 1e6:,.1f} M (the timed steps: {timed / 1e6:,.1f} M)')
    print(f'  forward + backward   {PASSES * step / 1e9:.3f} G ({PASSES} x)')
    print(f'achieved               {PASSES * timed * images_per_second / 1e9:,.1f} G multiply-adds per second')
    print(f'whole training         {total:.3g} multiply-adds')


def print_hours(images_per_second: float) -> None:
    images = TRAIN_IMAGES * EPOCHS
    print(f'\nimages to train on     {TRAIN_IMAGES:,} x {EPOCHS} epochs = {images:,}')
    print('hours, if every process is as fast as this one (ideal scaling: no wait for data or for other processes)')
    print('  processes | images/s | hours')
    for processes in PROCESSES:
        rate = processes * images_per_second
        print(f'  {processes:9} | {rate:8,.1f} | {images / rate / 3600:,.1f}')


def print_disk(weights: int, curves: int) -> None:
    size = (weights + curves) / 1e9
    print(f'\ncheckpoint             {weights / 1e6:,.1f} MB, weights and momentum')
    print(f'                       {curves / 1e6:,.1f} MB, loss curves at the end (total batch {TOTAL_BATCH:,})')
    print(f'disk                   {2 * size:.2f} GB for max_keep_ckpts=2, {3 * size:.2f} GB while a third is written')
    print(f'                       {IMAGENET_GB:.0f} GB for ImageNet (published: 138 GiB train, 6.3 GiB val)')


if __name__ == '__main__':
    main()
