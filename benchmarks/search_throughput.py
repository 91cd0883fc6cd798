"""Candidates per hour of a search, against the plain loop: a DataLoader pass over JPEG files for each candidate.

python benchmarks/search_throughput.py [--network a0|demo] [--images 256] [--candidates 4] [--rounds 2] [--workers 2]

Makes JPEG files of ImageNet's usual size (500 x 375), a supernet with new weights, and searches it, every process with
one thread. Every candidate is calibrated on --images images and scored on as many others, with the ImageNet configs'
transforms.

plain: the search with cache=False in both data loaders, and with the system's way to free memory. ours: as shipped.
2 ranks: ours, as two processes. bare: the forward passes that ours needs, over inputs that lie ready. What the first
generation takes is left out: there, ours decodes the images. Scores must be the same. a0: the subnets nearest to A0 of
the ImageNet space. demo: subnets of the demo's space, for which images are cropped to 32 x 32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size

from mmrazor_bignas.engine.allocator import keep_freed_memory
from mmrazor_bignas.engine.distributed import start_processes, stop_processes
from mmrazor_bignas.engine.runner import build_runner, load_config
from mmrazor_bignas.engine.search_loop import HISTORY, SearchLoop
from mmrazor_bignas.models import extract_subnet
from mmrazor_bignas.registry import TASK_UTILS
from mmrazor_bignas.search import RandomSearch, read_history
from mmrazor_bignas.search_space import SubnetSpec

ROOT = Path(__file__).resolve().parents[1]
SEARCH = ROOT / 'configs/nas/mmcls/bignas/attentive_mobilenet_search_8xb128_in1k.py'
SMALL = ROOT / 'configs/_base_/nas_backbones/attentive_mobilenet_v3_digits.py'
CLASSES = 4
BATCH = 64
PER_GENERATION = 2
NETWORKS = {'a0': {'flops': (0, 215e6)}, 'demo': {}}  # and the constraints
BARE_REPEATS = 3


@TASK_UTILS.register_module()
class TimedRandomSearch(RandomSearch):
    """Random search that knows when each generation ended."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.ends: list[float] = []

    def tell(self, scores: Mapping[SubnetSpec, float]) -> None:
        super().tell(scores)
        self.ends.append(time.monotonic())


def make_images(folder: Path, number: int) -> None:
    """Smooth colours with some noise, which JPEG compresses about as well as photographs."""
    rng = np.random.RandomState(0)
    for part in ('train', 'search'):
        for i in range(number):
            coarse = rng.randint(0, 255, (12, 16, 3), dtype=np.uint8)
            image = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.int16)
            image = np.clip(image + rng.randint(-12, 13, image.shape), 0, 255).astype(np.uint8)
            path = folder / part / f'class{i % CLASSES}/{i}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90])


def config_of(args: argparse.Namespace) -> Config:
    """The ImageNet search on the made images."""
    cfg = load_config(str(SEARCH), work_dir=args.work_dir)
    cfg.algorithm.architecture.head.num_classes = CLASSES
    if args.network == 'demo':
        small = Config.fromfile(SMALL).algorithm.architecture
        cfg.algorithm.architecture.backbone = small.backbone
    for loader, part in ((cfg.val_cfg.calibrate_dataloader, 'train'), (cfg.val_dataloader, 'search')):
        pipeline = loader.dataset.dataset.pipeline
        if args.network == 'demo':
            sizes = {'RandomResizedCrop': {'scale': 32}, 'ResizeEdge': {'scale': 36}, 'CenterCrop': {'crop_size': 32}}
            pipeline = [{**step, **sizes.get(step['type'].split('.')[-1], {})} for step in pipeline]
        loader.dataset = dict(type='CustomDataset', data_prefix=str(Path(args.images_in) / part), pipeline=pipeline)
        loader.batch_size, loader.num_workers, loader.cache = BATCH, args.workers, args.mode != 'plain'
    cfg.val_evaluator = dict(type='Accuracy', topk=(1,))
    cfg.val_cfg.calibrate_sample_num = args.images
    cfg.val_cfg.strategy = dict(type='mmrazor_bignas.TimedRandomSearch', population=PER_GENERATION, seed=0)
    cfg.val_cfg.generations = 1 + args.candidates // PER_GENERATION
    cfg.val_cfg.constraints = NETWORKS[args.network]
    return cfg


def search(args: argparse.Namespace) -> None:
    """Search in this process, as one of several or alone; the first prints seconds per candidate and scores."""
    torch.set_num_threads(1)
    if args.mode != 'plain':
        keep_freed_memory()
    start_processes('pytorch' if 'RANK' in os.environ else 'none')
    torch.manual_seed(0)
    runner = build_runner(config_of(args), 'pytorch' if 'RANK' in os.environ else 'none')
    loop = runner.build_val_loop(runner._val_loop)
    loop.run()
    ends = loop.strategy.ends
    records = read_history(Path(args.work_dir) / HISTORY) if get_rank() == 0 else {}
    found = {
        'seconds': (ends[-1] - ends[0]) / (PER_GENERATION * (len(ends) - 1)),
        'scores': {str(subnet.to_dict()): record['score'] for subnet, record in records.items()},
    }
    if args.mode == 'ours' and get_world_size() == 1:
        found['bare'] = bare(loop, [s for s, record in records.items() if record['generation'] > 0])
    if get_rank() == 0:
        print(json.dumps(found))
    stop_processes()


@torch.no_grad()
def bare(loop: SearchLoop, subnets: list[SubnetSpec]) -> float:
    """Seconds per candidate of nothing but the forward passes: those of the calibration, then those that score."""
    candidates = loop.candidates
    ready = {
        training: [candidates.supernet.data_preprocessor({'inputs': batch['inputs']}, False)['inputs'] for batch in of]
        for training, of in ((True, candidates.calibration), (False, candidates.batches))
    }
    seconds = []
    for _ in range(BARE_REPEATS):
        total = 0.0
        for subnet in subnets:
            static = extract_subnet(candidates.supernet, subnet)
            for training, batches in ready.items():
                for module in static.modules():
                    if isinstance(module, torch.nn.BatchNorm2d):
                        module.train(training)
                start = time.perf_counter()
                for images in batches:
                    static(images)
                total += time.perf_counter() - start
        seconds.append(total / len(subnets))
    return min(seconds)


def measure(run: str, ranks: int, args: argparse.Namespace, images: str) -> dict:
    """One search as a command of its own."""
    with tempfile.TemporaryDirectory() as work_dir:
        words = [__file__, '--mode', run, '--work-dir', work_dir, '--images-in', images]
        for name in ('network', 'images', 'candidates', 'workers'):
            words += [f'--{name}', str(getattr(args, name))]
        launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc-per-node={ranks}'] if ranks > 1 else []
        env = {**os.environ, 'OMP_NUM_THREADS': '1'}
        done = subprocess.run([sys.executable, *launch, *words], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description='Candidates per hour of a search, against the plain loop.')
    parser.add_argument('--network', choices=NETWORKS, default='a0')
    parser.add_argument('--images', type=int, default=256, help='to calibrate a candidate, and as many to score it')
    parser.add_argument('--candidates', type=int, default=4, help='that are timed; an even number')
    parser.add_argument('--rounds', type=int, default=2, help='of all searches, one after the other')
    parser.add_argument('--workers', type=int, default=2, help='processes of each data loader')
    # Of the searches that this program starts.
    parser.add_argument('--mode', choices=['plain', 'ours'], help=argparse.SUPPRESS)
    parser.add_argument('--work-dir', help=argparse.SUPPRESS)
    parser.add_argument('--images-in', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.mode:
        search(args)
        return
    with tempfile.TemporaryDirectory() as images:
        make_images(Path(images), args.images)
        searches = {'plain': ('plain', 1), 'ours': ('ours', 1), 'ours, 2 ranks': ('ours', 2)}
        found: dict[str, list[dict]] = {name: [] for name in searches}
        for _ in range(args.rounds):
            for name, (run, ranks) in searches.items():
                found[name].append(measure(run, ranks, args, images))
    first = found['plain'][0]['scores']
    assert all(one['scores'] == first for runs in found.values() for one in runs), 'the scores differ'
    seconds = {name: median(one['seconds'] for one in runs) for name, runs in found.items()}
    seconds['bare'] = median(one['bare'] for one in found['ours'])
    print(f'{args.network}: {len(first)} candidates with the same scores everywhere')
    for name, value in seconds.items():
        print(f'{name:14} {value:8.3f} s per candidate {3600 / value:8,.0f} per hour {seconds["plain"] / value:6.2f} x')
    print(f'ours / bare: {seconds["ours"] / seconds["bare"]:.3f}')
    print(f'2 ranks / 1 rank: {seconds["ours"] / seconds["ours, 2 ranks"]:.2f} x')


if __name__ == '__main__':
    main()
