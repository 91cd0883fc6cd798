"""What Python and torch's dispatch take of a step of the ImageNet supernet on a GPU, measured without one.

python benchmarks/dispatch_step.py [--steps N] [--dtype bfloat16|float32]

Kernels are compiled for compute capability 9.0 and launched by a driver that does nothing. Widths are few channels and
images 32 and 48 pixels: the same operations in the same number, but what torch computes on this CPU in a GPU's place is
little, and leaves the caches to Python. It is subtracted: the time which the profiler gives to the operations in
ARITHMETIC. A real driver's time, some microseconds for a launch, is not in it. A GPU whose kernels take less than this
waits for Python.
"""

from __future__ import annotations

import argparse
import os
import time
from unittest import mock

os.environ['TRITON_INTERPRET'] = '0'
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from no_card import NoCard
from torch.profiler import ProfilerActivity, profile
from train_step import WRAPPERS
from training_hours import CONFIG, ROOT, synthetic_batch
from triton.runtime import driver

import mmrazor_bignas.engine  # noqa: F401  registers what a config can name
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.kernels import operation, way
from mmrazor_bignas.registry import MODELS

RESOLUTIONS = [32, 48]
ARITHMETIC = (
    'mm addmm fill_ copy_ _fused_sgd_ clamp_min_ clamp_max_ linalg_vector_norm add_ mul add sum convolution_backward '
    'mkldnn_convolution upsample_bicubic2d avg_pool2d avg_pool2d_backward div bernoulli_'
)


def accept(kernel: operation.Kernel, key: tuple, x, *others):
    """In the place of a first use, whose result would be compared with the twin's: here there is none."""
    kernel._variants[key] = kernel.load()
    return kernel._variants[key](x, *others)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Python's part of a GPU's training step.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--steps', type=int, default=5, help='each with other random subnets')
    parser.add_argument('--dtype', choices=WRAPPERS, default='bfloat16')
    args = parser.parse_args()
    torch.set_num_threads(1)
    driver.set_active(NoCard(90))
    with (
        mock.patch.object(way, 'INTERPRETED', True),  # takes a CPU's tensors to the kernels
        mock.patch.dict('os.environ', {way.VARIABLE: 'fused'}),
        mock.patch.object(operation.Kernel, '_first', accept),
    ):
        measure(args.dtype, args.steps)


def make_narrow(space: dict) -> None:
    """As few channels as let every width differ from those of its neighbours, as the original's do."""
    space['resolution'], narrowest = RESOLUTIONS, 0
    for stage in [*space['stages'], space]:
        key = 'head' if stage is space else 'width'
        stage[key] = [narrowest + 8 * index for index in range(1, len(stage[key]) + 1)]
        narrowest = stage[key][-1] - 8
    space['stem'] = [8, 16]


def measure(dtype: str, steps: int) -> None:
    cfg = load_config(str(ROOT / CONFIG))
    init_default_scope(cfg.default_scope)
    architecture = cfg.algorithm.architecture
    make_narrow(architecture.backbone.search_space)
    architecture.head.num_classes = 16
    cfg.optim_wrapper.type = WRAPPERS[dtype]
    MMLogger.get_current_instance().setLevel('WARNING')
    algorithm = MODELS.build(cfg.algorithm).train()
    optim_wrapper = build_optim_wrapper(algorithm, cfg.optim_wrapper)
    batch = synthetic_batch(2, algorithm.architecture.head.num_classes)
    batch['inputs'] = batch['inputs'][:, :, : RESOLUTIONS[-1], : RESOLUTIONS[-1]].contiguous()

    def step(index: int) -> None:
        MessageHub.get_current_instance().update_info('iter', index)
        algorithm.train_step(dict(batch), optim_wrapper)

    for index in range(2):
        step(index)
    launches, began = NoCard.launches, time.process_time()
    for index in range(2, 2 + steps):
        step(index)
    seconds = (time.process_time() - began) / steps
    launches = (NoCard.launches - launches) / steps
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for index in range(2, 2 + steps):
            step(index)
    names = {f'aten::{name}' for name in ARITHMETIC.split()}
    computed = sum(row.self_cpu_time_total for row in profiled.key_averages() if row.key in names) / 1e6 / steps
    print(f'{dtype}: {seconds:.3f} s of one core a step, of it {computed:.3f} s arithmetic')
    print(f'dispatch {seconds - computed:.3f} s; {launches:,.0f} launches of Triton kernels')


if __name__ == '__main__':
    main()
