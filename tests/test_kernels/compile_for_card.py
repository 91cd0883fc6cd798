"""Compiles the kernels of training steps for a card that is not here, and prints what came of it as JSON.

Usage: python compile_for_card.py CAPABILITY FORMAT, such as 90 bfloat16. Nothing is launched, so numbers are whatever
the memory held.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ['TRITON_INTERPRET'] = '0'

import torch
import triton.backends.nvidia
from kernel_cases import small_algorithm, train_step
from no_card import NoCard
from triton.runtime import driver, jit

from mmrazor_bignas.engine import BFloat16OptimWrapper, OptimWrapper
from mmrazor_bignas.kernels import depthwise_conv2d, operation, way
from mmrazor_bignas.kernels.triton_code import launch

BATCH_SIZES = 2, 3, 16, 17, 40
CUOBJDUMP = Path(triton.backends.nvidia.__file__).parent / 'bin/cuobjdump'


def record_compilations(into: list[dict]) -> None:
    compile_ = jit.JITFunction._do_compile

    def recorded(self, key, signature, device, constexprs, *others):
        compiled = compile_(self, key, signature, device, constexprs, *others)
        constants = {self.arg_names[path[0]]: str(value) for path, value in constexprs.items()}
        loads = len(re.findall(r'ld\.global\S*\.v4\.b32', compiled.asm['ptx']))
        into.append(
            {'name': self.__name__, 'constants': constants, 'wide_loads': loads, **usage(compiled.asm['cubin'])}
        )
        return compiled

    jit.JITFunction._do_compile = recorded


def usage(cubin: bytes) -> dict[str, int]:
    """Bytes of local memory and the like; empty without cuobjdump."""
    if not CUOBJDUMP.exists():
        return {}
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(cubin)
        file.flush()
        command = [CUOBJDUMP, '--dump-resource-usage', file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r'(REG|STACK|SHARED|LOCAL):(\d+)', text)}


def run_kernel(kernel, variant, x, *others):
    """In the place of Kernel.__call__, which would compare results with the twin's."""
    return kernel.load()(x, *others)


def other_weights(dtype: torch.dtype) -> None:
    """Depthwise weights that are the whole where a step's were a part, and the other way round."""
    x = torch.zeros(2, 8, 5, 5, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    large = torch.zeros(8, 1, 7, 7)
    for weight in (torch.zeros(8, 1, 3, 3), large[:, :, 1:-1, 1:-1]):
        for stride in (1, 2):
            weight = weight.detach().requires_grad_()
            depthwise_conv2d(x, weight, None, (stride, stride), weight.shape[-1] // 2).sum().backward()


def main(capability: str, dtype: str) -> None:
    driver.set_active(NoCard(int(capability)))
    os.environ[way.VARIABLE] = 'fused'
    way.INTERPRETED = True  # kernels "run" on a CPU's tensors
    operation.Kernel.__call__ = run_kernel
    kernels, steps = [], []
    record_compilations(kernels)
    network = small_algorithm()
    wrapper = BFloat16OptimWrapper if dtype == 'bfloat16' else OptimWrapper
    wrapper = wrapper(torch.optim.SGD(network.parameters(), lr=0.0))
    for step, size in enumerate(BATCH_SIZES):
        launch._COMPILED.clear()  # so that Triton says whether it would compile anew
        train_step(network, wrapper, step, size)
        steps.append(len(kernels))
    launch._COMPILED.clear()
    other_weights(getattr(torch, dtype))
    after = dict(zip([*BATCH_SIZES, 'other weights'], [*steps, len(kernels)], strict=True))
    print(json.dumps({'kernels': kernels, 'after': after}))


if __name__ == '__main__':
    main(*sys.argv[1:])
