"""Seconds to evaluate one subnet (extract, calibrate, score), against the plain way over JPEG files.

python benchmarks/evaluate_subnet.py [--network a0|...|a6] [--images 128] [--rounds 3] [--json]

Makes JPEG files of ImageNet's usual size (500 x 375) and a supernet with random weights. The subnet is calibrated on
--images images and scored on as many others, with the ImageNet configs' transforms. Each way has a process of its own
with one thread, decodes in it, and they take turns.

plain: a new network filled with the weights, in torch's usual layout; a DataLoader pass to calibrate with momentum
None and one to score by argmax; the system's way to free memory. ours: as a search evaluates a candidate. first: ours
decodes the images too. later: they are kept. Accuracies must be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from mmcls.evaluation import Accuracy
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from search_throughput import config_of, make_images
from torch import nn

from mmrazor_bignas.engine import FixedBatches, measure
from mmrazor_bignas.engine.allocator import keep_freed_memory
from mmrazor_bignas.engine.calibration import calibrate_batch_norm
from mmrazor_bignas.models import SearchableImageClassifier, extract_subnet, inherit_weights
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.search_space.lookup import find_subnet

PHASES = ('extract', 'calibrate', 'evaluate')


class RememberedAccuracy(Accuracy):
    """Accuracy that remembers the predicted classes."""

    def compute_metrics(self, results: list) -> dict[str, float]:
        self.predicted = [int(result['pred_score'].argmax()) for result in results]
        return super().compute_metrics(results)


def ours(
    supernet: SearchableImageClassifier, subnet: SubnetSpec, calibration: FixedBatches, batches: FixedBatches
) -> tuple[list[float], list[int], float]:
    """When each phase began and the last ended; predicted classes; accuracy in per cent."""
    accuracy = RememberedAccuracy(topk=(1,))
    times = [time.perf_counter()]
    static = extract_subnet(supernet, subnet)
    times.append(time.perf_counter())
    calibrate_batch_norm(static, calibration)
    times.append(time.perf_counter())
    metrics = measure(static, batches, Evaluator([accuracy]))
    times.append(time.perf_counter())
    return times, accuracy.predicted, metrics['accuracy/top1']


@torch.no_grad()
def plain(
    supernet: SearchableImageClassifier, subnet: SubnetSpec, calibration: FixedBatches, batches: FixedBatches
) -> tuple[list[float], list[int], float]:
    """The same of the plain way; the batches are those of data loaders, without a cache."""
    times = [time.perf_counter()]
    static = supernet.twin(subnet)
    inherit_weights(static, supernet.state_dict())
    static.to(memory_format=torch.contiguous_format).eval()
    times.append(time.perf_counter())
    for module in static.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the average over all batches
            module.train()
    for batch in calibration:
        static(static.data_preprocessor(batch)['inputs'])
    static.eval()
    times.append(time.perf_counter())
    predicted, right = [], 0
    for batch in batches:
        classes = static(static.data_preprocessor(batch)['inputs']).argmax(1)
        right += int((classes == torch.cat([sample.gt_label.label for sample in batch['data_samples']])).sum())
        predicted += classes.tolist()
    times.append(time.perf_counter())
    return times, predicted, 100 * right / len(predicted)


def work(args: argparse.Namespace) -> None:
    """Evaluate once for each line of stdin and print what came of it; the line ``first`` drops the kept images."""
    torch.set_num_threads(1)
    if args.mode == 'ours':
        keep_freed_memory()
    init_default_scope('mmcls')
    subnet = f'attentivenas-{args.network}'
    # Its constraints, which are what a network means there, are not used.
    cfg = config_of(argparse.Namespace(**{**vars(args), 'network': 'a0', 'workers': 0, 'candidates': 0}))
    torch.manual_seed(0)
    supernet = MODELS.build(cfg.algorithm.architecture).eval()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # new blocks are their shortcuts alone
    subnet = find_subnet(subnet, supernet.search_space)
    evaluate = {'ours': ours, 'plain': plain}[args.mode]
    for line in sys.stdin:
        if line.strip() == 'first':
            calibration = FixedBatches(**cfg.val_cfg.calibrate_dataloader, num_images=args.images)
            batches = FixedBatches(**cfg.val_dataloader)
        times, predicted, accuracy = evaluate(supernet, subnet, calibration, batches)
        seconds = [end - start for start, end in pairwise(times)]
        found = {'seconds': sum(seconds), **dict(zip(PHASES, seconds, strict=True))}
        print(json.dumps({**found, 'predicted': predicted, 'accuracy': accuracy}), flush=True)


class Worker:
    """A process that evaluates when it is told to."""

    def __init__(self, mode: str, args: argparse.Namespace, images: str, work_dir: str) -> None:
        words = ['--mode', mode, '--network', args.network, '--images', str(args.images)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *words, '--images-in', images, '--work-dir', f'{work_dir}/{mode}'],
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, which: str) -> dict:
        """One evaluation, ``first`` or ``later``."""
        self._process.stdin.write(f'{which}\n')
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith('{'):
                return json.loads(line)
        sys.exit('a worker failed, see above')

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def ratio(pairs: Sequence[tuple[dict, dict]]) -> float:
    """Median of ours / plain."""
    return median(our['seconds'] / their['seconds'] for their, our in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description='Seconds to evaluate one subnet, against the plain way.')
    parser.add_argument('--network', choices=[f'a{i}' for i in range(7)], default='a0')
    parser.add_argument('--images', type=int, default=128, help='to calibrate the subnet, and as many to score it')
    parser.add_argument('--rounds', type=int, default=3, help='of two pairs each: a first candidate and a later one')
    parser.add_argument('--json', action='store_true', help='end with a line of JSON')
    # Of the processes that this program starts.
    parser.add_argument('--mode', choices=['plain', 'ours'], help=argparse.SUPPRESS)
    parser.add_argument('--work-dir', help=argparse.SUPPRESS)
    parser.add_argument('--images-in', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.mode:
        work(args)
        return
    pairs: dict[str, list[tuple[dict, dict]]] = {'first': [], 'later': []}
    with tempfile.TemporaryDirectory() as images, tempfile.TemporaryDirectory() as work_dir:
        make_images(Path(images), args.images)
        workers = {mode: Worker(mode, args, images, work_dir) for mode in ('plain', 'ours')}
        for worker in workers.values():
            worker('first')  # warms up
        for i in range(args.rounds):
            for which, found in pairs.items():
                found.append(tuple(worker(which) for worker in workers.values()))
                their, our = (one['seconds'] for one in found[-1])
                print(f'round {i + 1}, {which}: plain {their:.3f} s, ours {our:.3f} s, ratio {our / their:.3f}')
        for worker in workers.values():
            worker.close()
    every = [pair for found in pairs.values() for pair in found]
    accuracies = {one['accuracy'] for pair in every for one in pair}
    assert max(accuracies) - min(accuracies) < 1e-4, f'the accuracies differ: {sorted(accuracies)}'
    same = [a == b for their, our in every for a, b in zip(their['predicted'], our['predicted'], strict=True)]
    agreement = sum(same) / len(same)
    columns = {
        'plain': [their for their, _ in every],
        'ours, first': [our for _, our in pairs['first']],
        'ours, later': [our for _, our in pairs['later']],
    }
    extract_ms = {name: 1000 * median(run['extract'] for run in runs) for name, runs in columns.items()}
    print(f'\n{args.network}, {args.images} + {args.images} images')
    print(f'{"":12} {"extract ms":>11} {"calibrate s":>12} {"evaluate s":>11} {"all s":>7}')
    for name, runs in columns.items():
        calibrate, evaluate, total = (median(run[key] for run in runs) for key in ('calibrate', 'evaluate', 'seconds'))
        print(f'{name:12} {extract_ms[name]:11.1f} {calibrate:12.3f} {evaluate:11.3f} {total:7.3f}')
    print(f'ours / plain: first candidate {ratio(pairs["first"]):.3f}, later {ratio(pairs["later"]):.3f}')
    print(f'accuracy {min(accuracies):.2f} %, the same predictions: {100 * agreement:.2f} %')
    if args.json:
        found = {'ratio': ratio(pairs['later']), 'first_ratio': ratio(pairs['first'])}
        print(json.dumps({**found, 'extract_ms': extract_ms['ours, later'], 'agreement': agreement}))


if __name__ == '__main__':
    main()
