"""A training step of the ImageNet supernet, against the same four subnets as static networks.

python benchmarks/train_step.py [--device cpu|cuda] [--batch N] [--dtype float32|bfloat16|float16] [--best] [--json]

ours: BigNAS.train_step as a training runs it. plain: the step's four subnets as plain torch networks, float32 and
contiguous, what any framework has at least. ours static: the same plain networks in our layout and dtype. unsliced: the
four as this package's static networks, so that ours / unsliced is what running them as slices costs.

Every contender has a process of its own; they take turns, step by step, with the same subnets, resolutions, images and
dropout, and their losses must agree. All normalise the images once, run four forward and backward passes with label
loss and distillation, and step the optimizer once (the static ones only that of the largest). Ratios are taken pair by
pair, and the median is printed. The peak of memory is that of torch's tensors, weights included: on a CPU from the
profiler's record of one step, on a GPU from the allocator.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import accumulate
from statistics import median
from time import perf_counter

import torch
from contenders import Contender, median_ratio
from mmengine.logging import MessageHub
from plain_twins import PlainTwin
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from training_hours import CONFIG, ROOT, build_training, synchronize, synthetic_batch

from mmrazor_bignas.algorithms import BigNAS
from mmrazor_bignas.engine.allocator import keep_freed_memory
from mmrazor_bignas.models import extract_subnet

WRAPPERS = {
    'float32': 'mmrazor_bignas.OptimWrapper',
    'bfloat16': 'mmrazor_bignas.BFloat16OptimWrapper',
    'float16': 'mmrazor_bignas.Float16OptimWrapper',
}
TOLERANCE = {'float32': 1e-3, 'bfloat16': 3e-2, 'float16': 3e-2}
CONTENDERS = ('ours', 'plain', 'ours static', 'unsliced')


def trained(args: argparse.Namespace, dtype: str, **options) -> tuple[BigNAS, Callable[[int, dict], dict]]:
    """The algorithm, no block of which is an identity any more, and its train step."""
    algorithm, optim_wrapper = build_training(str(ROOT / CONFIG), WRAPPERS[dtype], torch.device(args.device), **options)
    for name, weight in algorithm.named_parameters():
        if name.endswith('project.bn.weight'):
            nn.init.constant_(weight, 0.5)
    for group in optim_wrapper.param_groups:
        group['lr'] = 0.0  # the weights stay those of the static networks

    def step(index: int, batch: dict) -> dict[str, Tensor]:
        MessageHub.get_current_instance().update_info('iter', index)
        return algorithm.train_step(dict(batch), optim_wrapper)

    return algorithm, step


def static_step(algorithm: BigNAS, kind: str, dtype: str, index: int) -> Callable[[dict], dict]:
    """The step's subnets as static networks, and what a training of them would do at least."""
    supernet, nets = algorithm.architecture, {}
    for name, subnet in algorithm.sampler(algorithm.search_space, index, score=None).items():
        static = extract_subnet(supernet, subnet)
        net = static if kind == 'unsliced' else PlainTwin(static, drop=not nets).to(next(static.parameters()).device)
        layout = torch.contiguous_format if kind == 'plain' else torch.channels_last
        nets[name] = net.to(memory_format=layout).train()
    weights = list(nets['largest'].parameters())
    optimizer = torch.optim.SGD(weights, lr=0.0, momentum=0.9, nesterov=True)
    device = weights[0].device.type
    scaler = torch.amp.GradScaler(device, enabled=dtype == 'float16')

    def step(batch: dict) -> dict[str, Tensor]:
        data = algorithm.data_preprocessor(dict(batch), training=True)
        teacher, losses = None, {}
        for name, net in nets.items():
            with torch.autocast(device, getattr(torch, dtype)) if dtype != 'float32' else nullcontext():
                drop = {'drop': teacher is None} if kind == 'unsliced' else {}
                logits = net(data['inputs'], **drop)
            if teacher is None:
                teacher = logits.detach()
                loss = supernet.head.loss_of_logits(logits, data['data_samples'])
            else:
                loss = algorithm.distillation(logits, teacher)
            scaler.scale(loss).backward()
            losses[f'{name}/loss'] = loss.detach()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_value_(weights, 1.0)
        scaler.step(optimizer)
        scaler.update()
        for net in nets.values():
            net.zero_grad()
        return losses

    return step


def build(name: str, args: argparse.Namespace) -> Callable[[], dict]:
    """A contender, in its own process; what it gives measures the next step."""
    torch.set_num_threads(args.threads)
    if name != 'plain':
        keep_freed_memory()  # as tools/train.py does
    dtype = 'float32' if name == 'plain' else args.dtype
    algorithm, ours = trained(args, dtype, compile=args.best and name == 'ours')
    batch = synthetic_batch(args.batch, algorithm.architecture.head.num_classes)
    device, steps = torch.device(args.device), iter(range(args.rounds + 1))

    def measure() -> dict:
        index = next(steps, None)
        if index is None:
            return examine(algorithm, ours, batch, device, args.profile)
        step = partial(ours, index) if name == 'ours' else static_step(algorithm, name, dtype, index)
        if name != 'ours':
            step(batch)  # such a training would run the same networks at every step
        torch.manual_seed(index)
        synchronize(device)
        began = perf_counter()
        losses = step(batch)
        synchronize(device)
        seconds = perf_counter() - began
        losses = {key: float(value) for key, value in losses.items() if key.endswith('/loss')}
        return {'seconds': seconds, 'losses': losses}

    return measure


def examine(algorithm: BigNAS, step: Callable, batch: dict, device: torch.device, rows: int) -> dict:
    """Peak memory of a step and of the largest subnet alone; kernels of a step; the profile's first rows."""
    sandwich, found = algorithm.sampler, {}
    weights = sum(weight.nbytes for weight in algorithm.parameters())
    for name, keep in (('step', None), ('largest', 1)):
        algorithm.sampler = lambda *of_step, keep=keep: dict(list(sandwich(*of_step).items())[:keep])
        step(0, batch)
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
            step(0, batch)
            found[name] = torch.cuda.max_memory_allocated(device)
        else:
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
                step(0, batch)
            events = profiled.profiler.kineto_results.events()
            changes = [event.nbytes() for event in events if event.name() == '[memory]']
            found[name] = 2 * weights + max(accumulate(changes))  # and their momentum
    algorithm.sampler = sandwich
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == 'cuda' else [])]
    with profile(activities=activities) as profiled:
        step(0, batch)
        synchronize(device)
    on_gpu = torch.autograd.DeviceType.CUDA
    found['kernels'] = sum(event.device_type == on_gpu for event in profiled.events())
    order = 'self_device_time_total' if device.type == 'cuda' else 'self_cpu_time_total'
    table = profiled.key_averages().table(sort_by=order, row_limit=rows, max_name_column_width=44)
    return {**found, 'profile': table if rows else ''}


def measure(args: argparse.Namespace) -> dict:
    """All contenders in turn: seconds of every step, and what is known of ours."""
    contenders = {name: Contender(build, name, args) for name in CONTENDERS}
    first = {name: contender.measure() for name, contender in contenders.items()}  # warm, and compiled
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(args.rounds):
        losses = {}
        for name, contender in contenders.items():
            measured = contender.measure()
            seconds[name].append(measured['seconds'])
            losses[name] = measured['losses']
        for name, own in losses.items():
            tolerance = TOLERANCE['float32' if name in ('ours', 'plain') and args.dtype == 'float32' else args.dtype]
            for key, value in losses['ours'].items():
                assert abs(own[key] - value) <= tolerance * abs(value), f'{name}: {key} is {own[key]}, not {value}'
    found = contenders['ours'].measure()
    for contender in contenders.values():
        contender.stop()
    return {'seconds': seconds, 'first': first['ours']['seconds'], **found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description='A training step of the ImageNet supernet, against the same subnets as static networks.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    on_gpu = torch.cuda.is_available()
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cuda' if on_gpu else 'cpu')
    parser.add_argument('--batch', type=int, default=64 if on_gpu else 8, help='images')
    parser.add_argument('--dtype', choices=WRAPPERS, default='float32', help='of all but the plain networks')
    parser.add_argument('--best', action='store_true', help='ours with every option that keeps the numbers')
    parser.add_argument('--rounds', type=int, default=5, help='steps of each, after a first one')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='of a CPU')
    parser.add_argument('--profile', type=int, default=0, metavar='ROWS', help="print as many rows of ours' profile")
    parser.add_argument('--json', action='store_true', help='end with one line of JSON')
    args = parser.parse_args()
    if args.batch < 2 or args.rounds < 1:
        parser.error('expected --batch of 2 or more, --rounds of 1 or more')
    if args.device == 'cuda' and not on_gpu:
        parser.error('--device cuda: torch finds no GPU')
    if args.device == 'cpu' and args.dtype == 'float16':
        parser.error('--dtype float16 is for a GPU')
    found = measure(args)
    seconds = found['seconds']
    where = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {args.threads} threads'
    print(f'{where}; torch {torch.__version__}; {args.batch} images, {args.dtype}; medians of {args.rounds} steps')
    for name, values in seconds.items():
        ratio = median_ratio(seconds['ours'], values)
        print(
            f'{name:12} {median(values):8.3f} s {args.batch / median(values):10,.2f} images/s   ours / this {ratio:.3f}'
        )
    peak = found['step'] / found['largest']
    print(f'peak memory  {found["step"] / 2**20:,.0f} MiB, {peak:.3f} x that of the largest subnet alone')
    if args.device == 'cuda':
        print(f'kernels      {found["kernels"]:,} per step')
    if args.best:
        print(f'compiling    {found["first"] - median(seconds["ours"]):.0f} s in the first step')
    print(found['profile'])
    if args.json:
        ratios = {'a_over_b': 'plain', 'a_over_c': 'ours static', 'a_over_unsliced': 'unsliced'}
        summary = {key: median_ratio(seconds['ours'], seconds[name]) for key, name in ratios.items()}
        summary |= {'peak_over_largest': peak, 'peak_bytes': found['step'], 'kernels': found['kernels']}
        summary |= {'images_per_second': args.batch / median(seconds['ours'])}
        summary |= {'plain_images_per_second': args.batch / median(seconds['plain'])}
        print(json.dumps(summary))


if __name__ == '__main__':
    main()
