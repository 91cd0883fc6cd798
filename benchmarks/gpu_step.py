"""Training steps in one number format and one way of the operations, timed: a row of benchmarks/gpu.sh.

python benchmarks/gpu_step.py [--dtype bfloat16] [--steps 20] [--compile] [--peer PATH] [--profile FILE]

The first step; 20 with new subnets each; the same again, whose shapes are known then; one under the profiler, which
notes kernels alone. Before and after every step the GPU is waited for. After each step a line of JSON says all that is
known so far, so that a run that is stopped still tells something. MMRAZOR_BIGNAS_KERNELS chooses the way. Images are
synthetic and lie in memory.

--peer runs the step of AttentiveNAS's training instead: its model, sampler and order of passes, from a clone of
github.com/facebookresearch/AttentiveNAS.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from gpu_busy import profiled_run, share_of
from gpu_rows import process_age
from mmengine.logging import MessageHub
from torch import nn
from train_step import WRAPPERS
from training_hours import CONFIG, ROOT, build_training, synchronize, synthetic_batch

from mmrazor_bignas.engine.allocator import keep_freed_memory
from mmrazor_bignas.engine.precision import products_as_convolutions
from mmrazor_bignas.kernels import chosen_way

PEER_CONFIG = 'configs/train_attentive_nas_models.yml'
PROFILE_ROWS = 15
KEPT_SECONDS = 6  # of the limit, for the profile


def our_step(args: argparse.Namespace, device: torch.device) -> Callable[[int], None]:
    """A step of the given index, which its subnets depend on, as a training runs it."""
    options = {'compile': True} if args.compile else {}
    algorithm, optim_wrapper = build_training(str(ROOT / args.config), WRAPPERS[args.dtype], device, **options)
    batch = synthetic_batch(args.batch, algorithm.architecture.head.num_classes)
    hub = MessageHub.get_current_instance()

    def step(index: int) -> None:
        hub.update_info('iter', index)
        algorithm.train_step(dict(batch), optim_wrapper)

    return step


def peer_step(args: argparse.Namespace, device: torch.device) -> Callable[[int], None]:
    """The same of AttentiveNAS's train_epoch, under autocast: largest, random, random, smallest, then one update."""
    sys.path.insert(0, str(args.peer))
    from models.model_factory import create_model
    from solver import build_optimizer
    from utils.config import setup

    config = setup(str(args.peer / PEER_CONFIG))
    torch.manual_seed(0)
    model = create_model(config).to(device).train()
    optimizer = build_optimizer(config, model)
    images = torch.randn(args.batch, 3, 224, 224, device=device)
    labels = torch.arange(args.batch, device=device) % config.n_classes
    dtype = getattr(torch, args.dtype)

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, dtype, enabled=args.dtype != 'float32'):
            return model(images)

    def step(index: int) -> None:
        random.seed(index)  # draws the subnets
        optimizer.zero_grad()
        model.sample_max_subnet()
        model.set_dropout_rate(config.dropout, config.drop_connect, config.drop_connect_only_last_two_stages)
        logits = forward().float()
        F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing).backward()
        teacher = logits.detach().softmax(1)
        model.set_dropout_rate(0, 0, config.drop_connect_only_last_two_stages)
        for i in range(1, config.num_arch_training):
            if i == config.num_arch_training - 1:
                model.sample_min_subnet()
            else:
                model.sample_active_subnet()
            (-(teacher * forward().float().log_softmax(1)).sum(1).mean()).backward()
        nn.utils.clip_grad_value_(model.parameters(), config.grad_clip_value)
        optimizer.step()

    return step


def profiled_step(step: Callable[[int], None], index: int, file: Path | None) -> dict:
    """Kernels of a step, the sum of their times, and the share of the step in which the GPU is at work."""
    profiled, events, seconds = profiled_run(lambda: step(index))
    copies = sum(event.name().startswith(('Memcpy', 'Memset')) for event in events)
    if file:
        averages = profiled.key_averages()
        table = averages.table(
            sort_by='self_device_time_total', row_limit=PROFILE_ROWS, max_name_column_width=80, header='a step'
        )
        file.write_text(table)
    return {
        'kernels': len(events) - copies,
        'copies': copies,
        'kernel_ms': sum(event.duration_ns() for event in events) / 1e6,
        'busy': share_of(events, seconds),
    }


def measure(args: argparse.Namespace, device: torch.device, began: float) -> None:
    """Print what is known after every step."""
    step = peer_step(args, device) if args.peer else our_step(args, device)
    found: dict = {'built_s': time.monotonic() - began, 'way': 'peer' if args.peer else chosen_way()}

    def timed(index: int) -> float:
        synchronize(device)
        start = time.perf_counter()
        step(index)
        synchronize(device)
        return time.perf_counter() - start

    found['first_s'] = timed(0)
    show(found)
    for name in ('new', 'known'):
        seconds: list[float] = []
        for index in range(1, args.steps + 1):
            if time.monotonic() - began > args.seconds - KEPT_SECONDS:
                found['note'] = f'stopped after {len(seconds)} {name}'
                break
            seconds.append(timed(index))
            found |= {f'{name}_s': median(seconds), f'{name}_max_s': max(seconds), f'{name}_steps': len(seconds)}
            if device.type == 'cuda':
                found['peak_gib'] = torch.cuda.max_memory_allocated(device) / 2**30
            show(found)
    if device.type == 'cuda' and not args.first_alone:
        found |= profiled_step(step, 1, args.profile)
        show(found)


def show(found: dict) -> None:
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    print(json.dumps(rounded), flush=True)


def main() -> None:
    began = time.monotonic() - process_age()
    parser = argparse.ArgumentParser(
        description='Training steps, timed.', formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    on_gpu = torch.cuda.is_available()
    parser.add_argument('--config', default=CONFIG, help='of the training, from the root of the project')
    parser.add_argument('--batch', type=int, default=64 if on_gpu else 2, help='images')
    parser.add_argument('--dtype', choices=WRAPPERS, default='bfloat16')
    parser.add_argument('--steps', type=int, default=20, help='with new subnets, and then with known ones')
    parser.add_argument('--first-alone', action='store_true', help='nothing but the first step')
    parser.add_argument('--compile', action='store_true', help='algorithm.compile=True')
    parser.add_argument('--seconds', type=float, default=300, help='of the process; its last 6 are for the profile')
    parser.add_argument('--profile', type=Path, metavar='FILE', help='gets the first rows of the profile')
    parser.add_argument('--peer', type=Path, metavar='PATH', help="a clone of AttentiveNAS's repository")
    args = parser.parse_args()
    if args.first_alone:
        args.steps = 0
    keep_freed_memory()
    products_as_convolutions()
    try:
        measure(args, torch.device('cuda' if on_gpu else 'cpu'), began)
    except ModuleNotFoundError as error:
        sys.exit(f'gpu_step.py: {error}: install {error.name}')


if __name__ == '__main__':
    main()
