"""Seconds to evaluate one subnet (extract, calibrate, score), against the plain way over JPEG files.

python benchmarks/evaluate_subnet.py [--network a0|...|a6] [--images 128] [--score-images N] [--rounds 3] [--json]
[--device cpu|cuda] [--dtype float32|bfloat16] [--batch N] [--workers N] [--decoded]

Makes JPEG files of ImageNet's usual size (500 x 375) and a supernet with random weights. The subnet is calibrated on
--images images and scored on others, with the ImageNet configs' transforms. Each way has a process of its own with one
thread, decodes in it or in --workers others, and they take turns.

plain: a new network filled with the weights, in torch's usual layout; a DataLoader pass to calibrate with momentum
None and one to score by argmax; the system's way to free memory. ours: as a search evaluates a candidate. first: ours
decodes the images too. later: they are kept. Accuracies must be equal.

On a GPU, as much as an ImageNet search evaluates, about a minute:

python benchmarks/evaluate_subnet.py --device cuda --decoded --images 16384 --score-images 10000 --rounds 1 --json

--decoded makes images as transforms leave them, at next to no cost, and gives them ImageNet's 1,000 classes; what the
plain way spends on decoding is then left out. One more later candidate is profiled: the share of its time in which the
GPU is busy. Kernels of another layout round otherwise there (TF32, bfloat16), so that accuracies may differ a little.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch
from contenders import Contender, median_ratio
from gpu_busy import busy_share
from mmcls.evaluation import Accuracy
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from search_throughput import add_arguments, config_of, make_images, parse
from torch import Tensor, nn
from training_hours import synchronize

from mmrazor_bignas.engine import FixedBatches, measure
from mmrazor_bignas.engine.allocator import keep_freed_memory
from mmrazor_bignas.engine.calibration import calibrate_batch_norm
from mmrazor_bignas.engine.precision import autocast, products_as_convolutions
from mmrazor_bignas.models import SearchableImageClassifier, extract_subnet, inherit_weights
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.search_space.lookup import find_subnet

PHASES = ('extract', 'calibrate', 'evaluate')
# Of accuracies in per cent: those of a CPU in float32 are equal.
TOLERANCE = {
    ('cpu', 'float32'): 1e-4,
    ('cpu', 'bfloat16'): 2.0,
    ('cuda', 'float32'): 0.5,
    ('cuda', 'bfloat16'): 2.0,
}


class RememberedAccuracy(Accuracy):
    """Accuracy that remembers the scores of all classes."""

    def compute_metrics(self, results: list) -> dict[str, float]:
        self.scores = [result['pred_score'] for result in results]
        return super().compute_metrics(results)


def ours(
    supernet: SearchableImageClassifier,
    subnet: SubnetSpec,
    calibration: FixedBatches,
    batches: FixedBatches,
    now: Callable[[], float],
    amp: bool,
) -> tuple[list[float], Tensor, float]:
    """When each phase began and the last ended; scores (images, classes); accuracy in per cent."""
    accuracy = RememberedAccuracy(topk=(1,))
    times = [now()]
    static = extract_subnet(supernet, subnet)
    times.append(now())
    calibrate_batch_norm(static, calibration, amp)
    times.append(now())
    metrics = measure(static, batches, Evaluator([accuracy]), amp)
    times.append(now())
    return times, torch.stack(accuracy.scores), metrics['accuracy/top1']


@torch.no_grad()
def plain(
    supernet: SearchableImageClassifier,
    subnet: SubnetSpec,
    calibration: FixedBatches,
    batches: FixedBatches,
    now: Callable[[], float],
    amp: bool,
) -> tuple[list[float], Tensor, float]:
    """The same of the plain way; the batches are those of data loaders, without a cache."""
    times = [now()]
    static = supernet.twin(subnet).to(next(supernet.parameters()).device)
    inherit_weights(static, supernet.state_dict())
    static.eval()
    times.append(now())
    for module in static.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the average over all batches
            module.train()
    for batch in calibration:
        with autocast(static, amp):
            static(static.data_preprocessor(batch)['inputs'])
    static.eval()
    times.append(now())
    logits, predicted, right = [], [], 0
    for batch in batches:
        with autocast(static, amp):
            logits.append(static(static.data_preprocessor(batch)['inputs']))
        classes = logits[-1].argmax(1)
        right += int((classes == torch.cat([sample.gt_label.label for sample in batch['data_samples']])).sum())
        predicted += classes.tolist()
    times.append(now())
    return times, torch.cat(logits).float().softmax(1).cpu(), 100 * right / len(predicted)


def build(mode: str, args: argparse.Namespace, images: str) -> Callable[[str], dict]:
    """What evaluates the subnet once, in a process of its own.

    Told ``first``, it drops the kept images before; told ``busy``, it says how busy the GPU is instead.
    """
    torch.set_num_threads(1)
    if mode == 'ours':
        keep_freed_memory()
        products_as_convolutions()
    else:
        os.environ['MMRAZOR_BIGNAS_KERNELS'] = 'nchw'  # torch's operations and layout
    multiprocessing.set_start_method('fork', force=True)  # of workers, as mmengine starts them
    init_default_scope('mmcls')
    device = torch.device(args.device)
    # The constraints, which are what a network means there, are not used.
    like_a0 = {'network': 'a0', 'candidates': 0, 'mode': mode, 'images_in': images, 'work_dir': f'{images}/{mode}'}
    cfg = config_of(argparse.Namespace(**{**vars(args), **like_a0}))
    torch.manual_seed(0)
    supernet = MODELS.build(cfg.algorithm.architecture).to(device).eval()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # new blocks are their shortcuts alone
    subnet = find_subnet(f'attentivenas-{args.network}', supernet.search_space)
    evaluate, batches = {'ours': ours, 'plain': plain}[mode], []

    def now() -> float:
        synchronize(device)
        return time.perf_counter()

    def once(which: str) -> dict:
        if which == 'busy':
            torch.cuda.reset_peak_memory_stats()
            busy = busy_share(lambda: evaluate(supernet, subnet, *batches, now, cfg.val_cfg.amp))
            return {'busy': busy, 'peak_bytes': torch.cuda.max_memory_allocated()}
        if which == 'first':
            calibration = FixedBatches(**cfg.val_cfg.calibrate_dataloader, num_images=args.images, device=device)
            batches[:] = calibration, FixedBatches(**cfg.val_dataloader, device=device)
        times, scores, accuracy = evaluate(supernet, subnet, *batches, now, cfg.val_cfg.amp)
        seconds = [end - start for start, end in pairwise(times)]
        found = {'seconds': sum(seconds), **dict(zip(PHASES, seconds, strict=True))}
        return {**found, 'scores': scores.numpy(), 'accuracy': accuracy}

    return once


def ratio(pairs: Sequence[tuple[dict, dict]]) -> float:
    """Median of ours / plain."""
    theirs, ours = zip(*pairs, strict=True)
    return median_ratio([run['seconds'] for run in ours], [run['seconds'] for run in theirs])


def main() -> None:
    parser = argparse.ArgumentParser(description='Seconds to evaluate one subnet, against the plain way.')
    parser.add_argument('--network', choices=[f'a{i}' for i in range(7)], default='a0')
    add_arguments(parser, images=128, workers=min(8, os.cpu_count()) if torch.cuda.is_available() else 0)
    parser.add_argument('--rounds', type=int, default=3, help='of two pairs each: a first candidate and a later one')
    parser.add_argument('--json', action='store_true', help='end with a line of JSON')
    args = parse(parser)
    pairs: dict[str, list[tuple[dict, dict]]] = {'first': [], 'later': []}
    with tempfile.TemporaryDirectory() as images:
        if not args.decoded:
            make_images(Path(images), args.images, args.score_images)
        contenders = [Contender(build, mode, args, images) for mode in ('plain', 'ours')]
        for contender in contenders:
            contender.measure('first')  # warms up
        for i in range(args.rounds):
            for which, found in pairs.items():
                found.append(tuple(contender.measure(which) for contender in contenders))
                their, our = (one['seconds'] for one in found[-1])
                print(f'round {i + 1}, {which}: plain {their:.3f} s, ours {our:.3f} s, ratio {our / their:.3f}')
        on_gpu = contenders[1].measure('busy') if args.device == 'cuda' else {}
        for contender in contenders:
            contender.stop()
    every = [pair for found in pairs.values() for pair in found]
    apart = max(abs(their['accuracy'] - our['accuracy']) for their, our in every)
    score_difference = max(
        float(np.abs(their['scores'] - our['scores']).max() / their['scores'].max()) for their, our in every
    )
    same = [their['scores'].argmax(1) == our['scores'].argmax(1) for their, our in every]
    agreement = float(np.concatenate(same).mean())
    columns = {
        'plain': [their for their, _ in every],
        'ours, first': [our for _, our in pairs['first']],
        'ours, later': [our for _, our in pairs['later']],
    }
    extract_ms = {name: 1000 * median(run['extract'] for run in runs) for name, runs in columns.items()}
    print(f'\n{args.network}, {args.images} + {args.score_images} images, {args.device}, {args.dtype}')
    print(f'{"":12} {"extract ms":>11} {"calibrate s":>12} {"evaluate s":>11} {"all s":>7}')
    for name, runs in columns.items():
        calibrate, evaluate, total = (median(run[key] for run in runs) for key in ('calibrate', 'evaluate', 'seconds'))
        print(f'{name:12} {extract_ms[name]:11.1f} {calibrate:12.3f} {evaluate:11.3f} {total:7.3f}')
    print(f'ours / plain: first candidate {ratio(pairs["first"]):.3f}, later {ratio(pairs["later"]):.3f}')
    print(
        f'accuracy {every[0][1]["accuracy"]:.2f} %, {apart:.3f} apart at most; the same predictions: '
        f'{100 * agreement:.2f} %; scores differ by {score_difference:.1e} of the largest at most'
    )
    if on_gpu:
        print(
            f'GPU busy: {100 * on_gpu["busy"]:.0f} % of a later candidate; peak {on_gpu["peak_bytes"] / 2**30:.1f} GiB'
        )
    if args.json:
        found = {'ratio': ratio(pairs['later']), 'first_ratio': ratio(pairs['first'])}
        found |= {'extract_ms': extract_ms['ours, later'], 'agreement': agreement, 'accuracy_difference': apart}
        found |= {'score_difference': score_difference, **on_gpu}
        print(json.dumps({**found, 'seconds': median(run['seconds'] for run in columns['ours, later'])}))
    tolerance = TOLERANCE[args.device, args.dtype]
    assert apart < tolerance, f'the accuracies differ by {apart} per cent, more than {tolerance}'


if __name__ == '__main__':
    main()
