"""Candidates per hour of a search, against the plain loop: a DataLoader pass over JPEG files for each candidate.

python benchmarks/search_throughput.py [--network a0|demo] [--images 256] [--score-images N] [--candidates 4]
[--rounds 2] [--workers 2] [--device cpu|cuda] [--dtype float32|bfloat16] [--batch N] [--decoded]

Makes JPEG files of ImageNet's usual size (500 x 375), a supernet with new weights, and searches it, every process with
one thread. Every candidate is calibrated on --images images and scored on others, with the ImageNet configs'
transforms. With --decoded there are no files: images are made as transforms leave them, at next to no cost, so that any
number of them is there in seconds. What the plain loop spends on decoding is then left out.

plain: the search with cache=False in both data loaders, and with the system's way to free memory. ours: as shipped.
2 ranks: ours, as two processes. bare: the forward passes that ours needs, over inputs that lie ready. What the first
generation takes is left out: there, ours decodes the images. Scores must be the same. On a GPU the share of a
candidate's time is printed in which it is busy, and 2 ranks need two GPUs. a0: the subnets nearest to A0 of
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
from gpu_busy import busy_share
from mmcls.structures import ClsDataSample
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from torch.utils.data import Dataset
from training_hours import synchronize

from mmrazor_bignas.engine.allocator import keep_freed_memory
from mmrazor_bignas.engine.distributed import start_processes, stop_processes
from mmrazor_bignas.engine.precision import autocast, products_as_convolutions
from mmrazor_bignas.engine.runner import build_runner, load_config
from mmrazor_bignas.engine.search_loop import HISTORY, SearchLoop
from mmrazor_bignas.models import extract_subnet
from mmrazor_bignas.registry import DATASETS, TASK_UTILS
from mmrazor_bignas.search import RandomSearch, read_history
from mmrazor_bignas.search_space import SubnetSpec

ROOT = Path(__file__).resolve().parents[1]
SEARCH = ROOT / 'configs/nas/mmcls/bignas/attentive_mobilenet_search_8xb128_in1k.py'
SMALL = ROOT / 'configs/_base_/nas_backbones/attentive_mobilenet_v3_digits.py'
CLASSES = 4  # of the files; those of decoded images are ImageNet's number
BATCH = {'cpu': 64, 'cuda': 256}
SIDES = {'a0': 224, 'demo': 32}
TOLERANCE = {'cpu': 0.0, 'cuda': 0.1}  # of scores in per cent; a GPU's kernels may add in another order
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


@DATASETS.register_module()
class DecodedImages(Dataset):
    """Images as transforms leave them, (3, side, side) uint8, with labels: a few, in other shades each time.

    Args:
        number: How many.
        side: Pixels.
        num_classes: Of the labels.
    """

    metainfo = {}

    def __init__(self, number: int, side: int, num_classes: int) -> None:
        rng = np.random.RandomState(0)
        self.few = [torch.from_numpy(smooth_image(rng, side, side)).permute(2, 0, 1).contiguous() for _ in range(64)]
        self.number, self.num_classes = number, num_classes

    def __getitem__(self, index: int) -> dict:
        image = self.few[index % 64] + index // 64 % 256  # bytes, which begin again at 0
        return {'inputs': image, 'data_samples': ClsDataSample().set_gt_label(index % self.num_classes)}

    def __len__(self) -> int:
        return self.number


def smooth_image(rng: np.random.RandomState, width: int, height: int) -> np.ndarray:
    """Smooth colours with some noise, which JPEG compresses about as well as photographs: (height, width, 3) uint8."""
    coarse = rng.randint(0, 255, (12, 16, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(image + rng.randint(-12, 13, image.shape), 0, 255).astype(np.uint8)


def make_images(folder: Path, number: int, scored: int | None = None) -> None:
    """JPEG files to calibrate on, and those that score; None for as many."""
    rng = np.random.RandomState(0)
    for part, count in (('train', number), ('search', number if scored is None else scored)):
        for i in range(count):
            image = smooth_image(rng, 500, 375)
            path = folder / part / f'class{i % CLASSES}/{i}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90])


def config_of(args: argparse.Namespace) -> Config:
    """The ImageNet search on the made images."""
    cfg = load_config(str(SEARCH), work_dir=args.work_dir)
    classes = cfg.algorithm.architecture.head.num_classes
    if not args.decoded:
        cfg.algorithm.architecture.head.num_classes = CLASSES
    if args.network == 'demo':
        small = Config.fromfile(SMALL).algorithm.architecture
        cfg.algorithm.architecture.backbone = small.backbone
    loaders = {'train': (cfg.val_cfg.calibrate_dataloader, args.images)}
    loaders['search'] = cfg.val_dataloader, args.score_images
    for part, (loader, number) in loaders.items():
        pipeline = loader.dataset.dataset.pipeline
        if args.network == 'demo':
            sizes = {'RandomResizedCrop': {'scale': 32}, 'ResizeEdge': {'scale': 36}, 'CenterCrop': {'crop_size': 32}}
            pipeline = [{**step, **sizes.get(step['type'].split('.')[-1], {})} for step in pipeline]
        loader.dataset = dict(type='CustomDataset', data_prefix=str(Path(args.images_in) / part), pipeline=pipeline)
        if args.decoded:
            loader.dataset = dict(type='mmrazor_bignas.DecodedImages', number=number, side=SIDES[args.network])
            loader.dataset.num_classes = classes
        loader.batch_size, loader.num_workers, loader.cache = args.batch, args.workers, args.mode != 'plain'
    cfg.val_evaluator = dict(type='Accuracy', topk=(1,))
    cfg.val_cfg.calibrate_sample_num = args.images
    cfg.val_cfg.amp = args.dtype == 'bfloat16'
    cfg.val_cfg.strategy = dict(type='mmrazor_bignas.TimedRandomSearch', population=PER_GENERATION, seed=0)
    cfg.val_cfg.generations = 1 + args.candidates // PER_GENERATION
    cfg.val_cfg.constraints = NETWORKS[args.network]
    return cfg


def search(args: argparse.Namespace) -> None:
    """Search in this process, as one of several or alone; the first prints seconds per candidate and scores."""
    torch.set_num_threads(1)
    if args.mode != 'plain':
        keep_freed_memory()
        products_as_convolutions()
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
        later = [subnet for subnet, record in records.items() if record['generation'] > 0]
        if args.device == 'cuda':
            found['busy'] = busy_share(lambda: loop.candidates.record(later[0]))
        found['bare'] = bare(loop, later)
    if get_rank() == 0:
        print(json.dumps(found))
    stop_processes()


@torch.no_grad()
def bare(loop: SearchLoop, subnets: list[SubnetSpec]) -> float:
    """Seconds per candidate of nothing but the forward passes: those of the calibration, then those that score."""
    candidates = loop.candidates
    device = next(candidates.supernet.parameters()).device
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
                synchronize(device)
                start = time.perf_counter()
                for images in batches:
                    with autocast(static, candidates.amp):
                        static(images)
                synchronize(device)
                total += time.perf_counter() - start
        seconds.append(total / len(subnets))
    return min(seconds)


def measure(run: str, ranks: int, args: argparse.Namespace, images: str) -> dict:
    """One search as a command of its own."""
    with tempfile.TemporaryDirectory() as work_dir:
        words = [__file__, '--mode', run, '--work-dir', work_dir, '--images-in', images]
        for name in ('network', 'images', 'score_images', 'candidates', 'workers', 'device', 'dtype', 'batch'):
            words += [f'--{name.replace("_", "-")}', str(getattr(args, name))]
        words += ['--decoded'] * args.decoded
        launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc-per-node={ranks}'] if ranks > 1 else []
        env = {**os.environ, 'OMP_NUM_THREADS': '1'}
        if args.device == 'cpu':
            env['CUDA_VISIBLE_DEVICES'] = ''  # mmengine takes a GPU where it sees one
        done = subprocess.run([sys.executable, *launch, *words], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def add_arguments(parser: argparse.ArgumentParser, images: int, workers: int) -> None:
    """What is evaluated and where; with defaults."""
    on_gpu = torch.cuda.is_available()
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cuda' if on_gpu else 'cpu')
    parser.add_argument('--dtype', choices=['float32', 'bfloat16'], default='float32', help='bfloat16: autocast')
    parser.add_argument('--images', type=int, default=images, help='to calibrate a candidate')
    parser.add_argument('--score-images', type=int, help='to score it; as many by default')
    parser.add_argument('--batch', type=int, help='images; by default 64, on a GPU 256')
    parser.add_argument('--decoded', action='store_true', help='images that need no decoding, instead of JPEG files')
    parser.add_argument('--workers', type=int, default=workers, help='processes of each data loader')


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with what the defaults depend on."""
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: torch finds no GPU')
    if args.score_images is None:
        args.score_images = args.images
    if args.batch is None:
        args.batch = BATCH[args.device]
    if min(args.images, args.score_images, args.batch) < 2:
        parser.error('expected --images, --score-images and --batch of 2 or more')
    return args


def main() -> None:
    parser = argparse.ArgumentParser(description='Candidates per hour of a search, against the plain loop.')
    parser.add_argument('--network', choices=NETWORKS, default='a0')
    add_arguments(parser, images=256, workers=2)
    parser.add_argument('--candidates', type=int, default=4, help='that are timed; an even number')
    parser.add_argument('--rounds', type=int, default=2, help='of all searches, one after the other')
    # Of the searches that this program starts.
    parser.add_argument('--mode', choices=['plain', 'ours'], help=argparse.SUPPRESS)
    parser.add_argument('--work-dir', help=argparse.SUPPRESS)
    parser.add_argument('--images-in', help=argparse.SUPPRESS)
    args = parse(parser)
    if args.mode:
        search(args)
        return
    searches = {'plain': ('plain', 1), 'ours': ('ours', 1)}
    if args.device == 'cpu' or torch.cuda.device_count() > 1:
        searches['ours, 2 ranks'] = 'ours', 2
    with tempfile.TemporaryDirectory() as images:
        if not args.decoded:
            make_images(Path(images), args.images, args.score_images)
        found: dict[str, list[dict]] = {name: [] for name in searches}
        for _ in range(args.rounds):
            for name, (run, ranks) in searches.items():
                found[name].append(measure(run, ranks, args, images))
    first = found['plain'][0]['scores']
    apart = [
        abs(score - one['scores'][subnet]) for runs in found.values() for one in runs for subnet, score in first.items()
    ]
    assert max(apart) <= TOLERANCE[args.device], f'the scores differ by up to {max(apart)} per cent'
    seconds = {name: median(one['seconds'] for one in runs) for name, runs in found.items()}
    seconds['bare'] = median(one['bare'] for one in found['ours'])
    print(f'{args.network}, {args.images} + {args.score_images} images, {args.device}, {args.dtype}')
    print(f'{len(first)} candidates, whose scores differ by {max(apart):.3f} per cent at most')
    for name, value in seconds.items():
        print(f'{name:14} {value:8.3f} s per candidate {3600 / value:8,.0f} per hour {seconds["plain"] / value:6.2f} x')
    print(f'ours / bare: {seconds["ours"] / seconds["bare"]:.3f}')
    if 'ours, 2 ranks' in seconds:
        print(f'2 ranks / 1 rank: {seconds["ours"] / seconds["ours, 2 ranks"]:.2f} x')
    if args.device == 'cuda':
        print(f'GPU busy: {100 * median(one["busy"] for one in found["ours"]):.0f} % of a candidate')


if __name__ == '__main__':
    main()
