"""What two processes add to a training step: the step's time against a single process's plus the exchange by itself.

python benchmarks/distributed_step.py [--batch N] [--rounds N] [--json]

single: two processes that train independently, each with one thread and its own copy of the network, so that they share
the machine's memory as the pair does. pair: the same with SandwichDistributedDataParallel over gloo. exchange: one
all-reduce of as many bytes as the gradients have. The order of passes after the teacher is measured too: the
exchange overlaps with the last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from contenders import median_ratio
from mmengine.logging import MessageHub
from training_hours import CONFIG, ROOT, build_training, synthetic_batch

from mmrazor_bignas.engine import SandwichDistributedDataParallel
from mmrazor_bignas.engine.allocator import keep_freed_memory

RANKS = 2
PAIRS = ('pair', 'pair, random last')


def serve(rank: int, port: int, args: argparse.Namespace, queue: mp.Queue) -> None:
    """One process: seconds of every kind of step, in turn."""
    torch.set_num_threads(1)
    keep_freed_memory()
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=RANKS)
    algorithm, optim_wrapper = build_training(str(ROOT / CONFIG), 'mmrazor_bignas.OptimWrapper', torch.device('cpu'))
    pair = SandwichDistributedDataParallel(algorithm)
    batch = synthetic_batch(args.batch, algorithm.architecture.head.num_classes)
    gradients = torch.zeros(sum(weight.numel() for weight in algorithm.parameters()))
    sandwich = algorithm.sampler

    def random_last(*of_step) -> dict:
        subnets = sandwich(*of_step)
        return {'largest': subnets.pop('largest'), 'smallest': subnets.pop('smallest'), **subnets}

    def train(model, sampler: Callable) -> Callable[[], object]:
        def step() -> None:
            algorithm.sampler = sampler
            model.train_step(dict(batch), optim_wrapper)

        return step

    kinds = {
        'single': train(algorithm, sandwich),
        'pair': train(pair, sandwich),
        'pair, random last': train(pair, random_last),
        'exchange': lambda: dist.all_reduce(gradients),
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for index in range(args.rounds + 1):
        MessageHub.get_current_instance().update_info('iter', index // 2)  # the same subnets twice
        for name, run in kinds.items():
            dist.barrier()
            began = perf_counter()
            run()
            if name == 'single':
                dist.barrier()  # it lasts until the slower process is done, as a pair's does
            if index:  # the first is to warm up
                seconds[name].append(perf_counter() - began)
    if rank == 0:
        queue.put(seconds)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description='What two processes add to a training step.')
    parser.add_argument('--batch', type=int, default=4, help='images per process')
    parser.add_argument('--rounds', type=int, default=4, help='steps of each kind, after a first one')
    parser.add_argument('--json', action='store_true', help='end with one line of JSON')
    args = parser.parse_args()
    context = mp.get_context('spawn')
    queue = context.Queue()
    store = dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)  # finds a free port
    port = store.port
    del store
    processes = [context.Process(target=serve, args=(rank, port, args, queue)) for rank in range(RANKS)]
    for process in processes:
        process.start()
    seconds = queue.get()
    for process in processes:
        process.join()
    parts = [sum(both) for both in zip(seconds['single'], seconds['exchange'], strict=True)]
    print(f'CPU, {RANKS} processes of one thread; torch {torch.__version__}; {args.batch} images each')
    for name, values in seconds.items():
        of_parts = f'   / (single + exchange) {median_ratio(values, parts):.3f}' if name in PAIRS else ''
        print(f'{name:18} {median(values):8.3f} s{of_parts}')
    if args.json:
        print(json.dumps({name: median_ratio(seconds[name], parts) for name in PAIRS}))


if __name__ == '__main__':
    main()
