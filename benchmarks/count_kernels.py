"""How many kernels a training step of the ImageNet supernet launches on a GPU, counted without one.

python benchmarks/count_kernels.py [--way fused|torch] [--steps N] [--rows N]

The four passes of a step run on tensors without values. Every operation that torch dispatches is counted: 0 for a view
or an allocation, what this package's operations launch (LAUNCHES), 1 for any other. So it is a little less than a
profiler would count: some of torch's operations launch several kernels, cuBLAS splits some products, and the few dozen
of the optimizer are not in it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import mean
from unittest import mock

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from training_hours import CONFIG, ROOT, synthetic_batch

import mmrazor_bignas.engine  # noqa: F401  registers what a config can name
from mmrazor_bignas.algorithms import BigNAS
from mmrazor_bignas.engine import BFloat16OptimWrapper
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.kernels import depthwise, slicing, way
from mmrazor_bignas.registry import MODELS

LAUNCHES = {
    'mmrazor_bignas::batch_norm_act': 2,  # 1 after a depthwise convolution, which is counted as 0 for that
    'mmrazor_bignas::batch_norm_act_backward': 2,
    'mmrazor_bignas::depthwise_conv2d': 0,
    'mmrazor_bignas::depthwise_conv2d_input_gradient': 1,
    'mmrazor_bignas::depthwise_conv2d_weight_gradient': 2,
    'mmrazor_bignas::squeeze_excite': 4,
    'mmrazor_bignas::squeeze_excite_backward': 5,
    # What torch launches at least.
    'aten::convolution_backward': 2,
    'aten::native_batch_norm': 2,
    'aten::_native_batch_norm_legit': 2,
    'aten::native_batch_norm_backward': 2,
}
VIEWS_AND_ALLOCATIONS = """
    alias as_strided as_strided_ detach empty empty_like empty_strided expand narrow new_empty new_empty_strided permute
    select slice split split_with_sizes squeeze t transpose unbind unsqueeze view _unsafe_view
"""
LAUNCHES |= {f'aten::{name}': 0 for name in VIEWS_AND_ALLOCATIONS.split()} | {'prim::device': 0}
LAUNCHES |= {'profiler::_record_function_enter_new': 0, 'profiler::_record_function_exit': 0}


class CountedOperations(TorchDispatchMode):
    """Counts what is dispatched within, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.counts[operation._schema.name] += 1
        return operation(*args, **(kwargs or {}))


@contextmanager
def taken_for_gpu(which: str) -> Iterator[None]:
    """Within, tensors on the CPU go the way that those of a GPU would go."""
    with ExitStack() as patches:
        way.forget_choice()
        patches.callback(way.forget_choice)
        patches.enter_context(mock.patch.dict('os.environ', {way.VARIABLE: which}))
        patches.enter_context(mock.patch.object(way, 'INTERPRETED', which == 'fused'))
        patches.enter_context(mock.patch.object(depthwise, 'gains_from_two_parts', return_value=False))
        yield


def build() -> tuple[BigNAS, FakeTensorMode]:
    """The algorithm of the main config; its tensors have sizes and no values."""
    cfg = load_config(str(ROOT / CONFIG))
    init_default_scope(cfg.default_scope)
    MMLogger.get_current_instance().setLevel('WARNING')
    algorithm = MODELS.build(cfg.algorithm).train()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        for module in algorithm.modules():
            for tensors in (module._parameters, module._buffers):
                for name, value in tensors.items():
                    if value is not None:
                        new = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
                        tensors[name] = nn.Parameter(new) if isinstance(value, nn.Parameter) else new
    return algorithm, fake


def count(which: str, steps: int, batch: int) -> list[Counter[str]]:
    """What the passes of each step dispatch, by operation; an addition of all gradients of a pass is one or two."""
    found = []
    with taken_for_gpu(which):
        algorithm, fake = build()
        optim_wrapper = BFloat16OptimWrapper(torch.optim.SGD(algorithm.parameters(), lr=0.0))
        data = synthetic_batch(batch, algorithm.architecture.head.num_classes)
        adds: Counter[str] = Counter()

        def add(formats: tuple, parts: tuple, addends: tuple) -> None:
            adds['mmrazor_bignas::add_parts'] += len(formats) if which == 'fused' else len(parts)

        with fake, mock.patch.object(slicing, '_ADD', add), mock.patch.object(optim_wrapper, 'step'):
            for step in range(steps):
                MessageHub.get_current_instance().update_info('iter', step)
                adds.clear()
                with CountedOperations() as counted:
                    algorithm.train_step(dict(data), optim_wrapper)
                found.append(counted.counts + adds)
    return found


def kernels(counts: Counter[str]) -> int:
    """How many kernels such operations launch."""
    return sum(number * LAUNCHES.get(name, 1) for name, number in counts.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Kernels of a training step, counted without a GPU.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--way', choices=['fused', 'torch'], default='fused')
    parser.add_argument('--steps', type=int, default=4, help='each with other random subnets')
    parser.add_argument('--batch', type=int, default=64, help='images')
    parser.add_argument('--rows', type=int, default=12, help='operations to name')
    args = parser.parse_args()
    found = count(args.way, args.steps, args.batch)
    numbers = [kernels(counts) for counts in found]
    print(f'{args.way}: {mean(numbers):,.0f} kernels a step on average, {min(numbers):,} to {max(numbers):,}')
    total = sum(found, Counter())
    by_kernels = sorted(total, key=lambda name: -total[name] * LAUNCHES.get(name, 1))
    for name in by_kernels[: args.rows]:
        launches = total[name] * LAUNCHES.get(name, 1) / len(found)
        print(f'{name:50} {total[name] / len(found):9,.0f} calls {launches:9,.0f} kernels')


if __name__ == '__main__':
    main()
