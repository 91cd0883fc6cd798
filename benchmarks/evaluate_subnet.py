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
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from contenders import Contender, median_ratio
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


def build(mode: str, network: str, number: int, images: str) -> Callable[[str], dict]:
    """What evaluates the subnet once, in a process of its own; told ``first``, it drops the kept images before."""
    torch.set_num_threads(1)
    if mode == 'ours':
        keep_freed_memory()
    init_default_scope('mmcls')
    # Its constraints, which are what a network means there, are not used.
    like_a0 = {'network': 'a0', 'workers': 0, 'candidates': 0}
    cfg = config_of(
        argparse.Namespace(mode=mode, images=number, images_in=images, work_dir=f'{images}/{mode}', **like_a0)
    )
    torch.manual_seed(0)
    supernet = MODELS.build(cfg.algorithm.architecture).eval()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # new blocks are their shortcuts alone
    subnet = find_subnet(f'attentivenas-{network}', supernet.search_space)
    evaluate, batches = {'ours': ours, 'plain': plain}[mode], []

    def once(which: str) -> dict:
        if which == 'first':
            calibration = FixedBatches(**cfg.val_cfg.calibrate_dataloader, num_images=number)
            batches[:] = calibration, FixedBatches(**cfg.val_dataloader)
        times, predicted, accuracy = evaluate(supernet, subnet, *batches)
        seconds = [end - start for start, end in pairwise(times)]
        found = {'seconds': sum(seconds), **dict(zip(PHASES, seconds, strict=True))}
        return {**found, 'predicted': predicted, 'accuracy': accuracy}

    return once


def ratio(pairs: Sequence[tuple[dict, dict]]) -> float:
    """Median of ours / plain."""
    theirs, ours = zip(*pairs, strict=True)
    return median_ratio([run['seconds'] for run in ours], [run['seconds'] for run in theirs])


def main() -> None:
    parser = argparse.ArgumentParser(description='Seconds to evaluate one subnet, against the plain way.')
    parser.add_argument('--network', choices=[f'a{i}' for i in range(7)], default='a0')
    parser.add_argument('--images', type=int, default=128, help='to calibrate the subnet, and as many to score it')
    parser.add_argument('--rounds', type=int, default=3, help='of two pairs each: a first candidate and a later one')
    parser.add_argument('--json', action='store_true', help='end with a line of JSON')
    args = parser.parse_args()
    pairs: dict[str, list[tuple[dict, dict]]] = {'first': [], 'later': []}
    with tempfile.TemporaryDirectory() as images:
        make_images(Path(images), args.images)
        contenders = [Contender(build, mode, args.network, args.images, images) for mode in ('plain', 'ours')]
        for contender in contenders:
            contender.measure('first')  # warms up
        for i in range(args.rounds):
            for which, found in pairs.items():
                found.append(tuple(contender.measure(which) for contender in contenders))
                their, our = (one['seconds'] for one in found[-1])
                print(f'round {i + 1}, {which}: plain {their:.3f} s, ours {our:.3f} s, ratio {our / their:.3f}')
        for contender in contenders:
            contender.stop()
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
