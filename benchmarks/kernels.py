"""Every kernel on layers that stand for the ImageNet space, against torch's two layouts; then other block sizes.

python benchmarks/kernels.py [--seconds 90] [--dtype bfloat16] [--only FAMILY] [--out DIR]

The layers are those of the smallest, the largest and a random subnet: the first, a middle and the last one of every
form (kernel size and stride, activation, addition), of 64 images and, in the middle, of 256. In the first table:

us: a call's time on the GPU, the median; launches wait for a GPU that sleeps, so Python's time is not in it. Inputs
    are rotated among sets that together do not fit into the cache. Gradients of torch's operations, and those of the
    pointwise convolution, are forward + backward less forward.
floor: the time that a copy would take for the fewest bytes (every input read once, every output written once), in % of
    us. The copy is measured first.
NHWC, NCHW: torch's operations in channels_last and in the contiguous layout, us, and the first call in ms, in which
    cuDNN may compile. Of NHWC depthwise gradients, a second for each shape, only some are measured.
error: norm of the difference from the plain twin in float32 / norm of the twin's; the largest of all results.

The second table has candidates for BLOCK_SIZES (mmrazor_bignas/kernels/block_sizes.py), the likeliest first, until the
time is up: us is the sum over a part of the layers, of all passes that use the entry. The end says what to write into
that file, and, in one line of JSON, all that counts; --out keeps every row. With TRITON_INTERPRET=1 and --tiny a CPU
rehearses all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import torch
from gpu_rows import TINY_CONFIG, process_age
from kernel_layers import FAMILIES, Layer, by_form, changed, chosen_layers, spread, tensors_of
from kernel_passes import LAYOUTS, Pass, gradients, in_layout, passes
from torch import Tensor
from training_hours import CONFIG, ROOT

from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.kernels.block_sizes import BLOCK_SIZES, Blocks
from mmrazor_bignas.kernels.operation import TOLERANCES, as_tuple
from mmrazor_bignas.search_space import SearchSpace

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16, 'float32': torch.float32}
CACHE = 100 * 2**20  # bytes that are more than a GPU keeps
MOST_SETS = 8  # of inputs
REPEATS = 7
SLOW_SHAPES = 4  # of NHWC depthwise gradients that are measured
GAIN = 0.98  # another block size is suggested for this much of the present one's time, or less
AT_ONCE = 4  # candidates of one entry, compiled together

# Rows, channels, warps, programs: the likeliest first. The present entry is measured beside them.
CANDIDATES = {
    'depthwise': [
        (32, 32, 4, 2112), (64, 32, 8, 1056), (16, 64, 4, 2112), (64, 32, 4, 2112), (64, 64, 8, 1056),
        (32, 64, 4, 2112), (32, 32, 4, 1056), (64, 16, 4, 2112), (32, 16, 2, 4224), (16, 64, 2, 4224),
        (32, 32, 2, 2112), (32, 128, 8, 1056), (128, 32, 8, 1056), (64, 64, 4, 1056),
    ],
    'depthwise_weight': [
        (16, 32, 4, 4224), (32, 32, 8, 2112), (8, 64, 4, 4224), (16, 64, 8, 2112), (16, 32, 4, 2112),
        (8, 32, 2, 4224), (16, 64, 4, 2112), (32, 32, 4, 4224), (32, 32, 4, 1056), (32, 64, 8, 2112),
        (16, 16, 2, 4224), (64, 16, 4, 2112), (64, 32, 8, 2112), (16, 32, 2, 4224),
    ],
    'norm_reduce': [
        (64, 64, 8, 528), (128, 32, 8, 528), (64, 32, 4, 1056), (64, 64, 8, 1056), (32, 64, 4, 1056),
        (128, 64, 8, 528), (32, 128, 8, 528), (128, 64, 16, 264), (64, 32, 4, 2112), (128, 32, 4, 528),
        (64, 32, 8, 1056), (32, 64, 4, 2112), (16, 128, 4, 1056), (256, 32, 8, 264),
    ],
    'norm_apply': [
        (64, 32, 4, 2112), (64, 64, 8, 1056), (32, 64, 4, 2112), (64, 64, 4, 1056), (32, 32, 4, 2112),
        (64, 32, 4, 4224), (128, 32, 8, 1056), (64, 64, 8, 2112), (32, 128, 8, 1056), (32, 64, 4, 4224),
        (128, 64, 8, 528), (16, 128, 4, 2112), (128, 32, 4, 1056), (64, 32, 8, 1056),
    ],
    'gate_reduce': [
        (64, 64, 8), (32, 64, 4), (64, 32, 8), (128, 32, 4), (64, 64, 4), (32, 32, 4), (128, 32, 8), (32, 128, 8),
        (128, 64, 8), (16, 64, 4), (32, 32, 2), (256, 16, 8),
    ],
    'gate_apply': [
        (64, 64, 8), (32, 64, 4), (64, 64, 4), (128, 32, 4), (32, 32, 4), (32, 128, 4), (16, 64, 4), (128, 64, 8),
        (64, 128, 8), (16, 128, 4), (32, 32, 2), (128, 32, 8),
    ],
}  # fmt: skip


class Clock:
    """Times of calls, on a GPU or (to rehearse) a CPU.

    Attributes:
        copy_rate: Bytes per second, read and written, of a copy from device to device.
    """

    def __init__(self, device: str) -> None:
        self.on_gpu = device == 'cuda'
        size = 2**30 if self.on_gpu else 2**22
        source = torch.ones(size, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        self.copy_rate = 2 * size / self.steady(lambda _: target.copy_(source), [None])

    def first(self, call: Callable, t: SimpleNamespace) -> tuple[Tensor | tuple[Tensor, ...], float]:
        """Result and seconds of one call, Python's time included."""
        self._wait()
        began = time.perf_counter()
        result = call(t)
        self._wait()
        return result, time.perf_counter() - began

    def steady(self, call: Callable, sets: Sequence) -> float:
        """Seconds of a call: the median of several rounds over all sets of inputs."""
        if not self.on_gpu:
            return self.first(lambda _: [call(t) for t in sets], None)[1] / len(sets)
        launching, seconds = self._launch(call, sets), []
        for _ in range(REPEATS):
            torch.cuda.synchronize()
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            # At about 2 cycles a ns: while the GPU sleeps, Python launches what is timed.
            torch.cuda._sleep(int(2e9 * min(1.5 * launching + 1e-4, 0.05)))
            begin.record()
            self._launch(call, sets)
            end.record()
            end.synchronize()
            seconds.append(begin.elapsed_time(end) / 1000)
        return median(seconds) / len(sets)

    def _launch(self, call: Callable, sets: Sequence) -> float:
        began = time.perf_counter()
        for t in sets:
            call(t)
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


def bytes_of(value) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(bytes_of, value)) if isinstance(value, (tuple, list)) else 0


def error_of(result, expected) -> float:
    """The largest relative difference of several results; NaN where one is not finite."""
    errors = []
    for ours, right in zip(as_tuple(result), as_tuple(expected), strict=True):
        errors.append(float((ours.float() - right.float()).norm() / right.float().norm()))
    return next((error for error in errors if error != error), max(errors))


def exact_result(which: Pass, t: SimpleNamespace) -> Tensor | tuple[Tensor, ...]:
    """The plain twin's, of the same inputs in float32."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        return which.exact(changed(t, lambda _, x: x.to(torch.float32, copy=True)))


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'[:120]


@contextmanager
def patched(patch: dict[str, Blocks], size: int) -> Iterator[None]:
    """Other entries of BLOCK_SIZES, for numbers of ``size`` bytes."""
    present = {name: BLOCK_SIZES[name][size] for name in patch}
    try:
        for name, blocks in patch.items():
            BLOCK_SIZES[name][size] = blocks
        yield
    finally:
        for name, blocks in present.items():
            BLOCK_SIZES[name][size] = blocks


@contextmanager
def compiling(threads: int) -> Iterator[list]:
    """Triton's launches within compile and nothing else, on several threads; gives what was submitted."""
    from triton.runtime._async_compile import AsyncCompileMode
    from triton.runtime.jit import JITFunction

    run = JITFunction.run

    def compile_alone(kernel, *args, grid, warmup, **options):
        run(kernel, *args, grid=grid, warmup=True, **options)  # and nothing back, which nobody may keep

    with ThreadPoolExecutor(threads) as pool, AsyncCompileMode(pool, ignore_errors=True) as mode:
        JITFunction.run = compile_alone
        try:
            yield mode.raw_futures
        finally:
            JITFunction.run = run


class Bench:
    """Measures passes of layers.

    Args:
        args: Of the command line.
        layers: What is measured.
        of: The passes.
        device: 'cuda', or 'cpu' to rehearse.
    """

    def __init__(self, args: argparse.Namespace, layers: Sequence[Layer], of: Sequence[Pass], device: str) -> None:
        self.layers, self.passes, self.device = layers, of, device
        self.dtype, self.tiny = DTYPES[args.dtype], args.tiny
        self.began, self.seconds = time.monotonic() - process_age(), args.seconds
        self.size = self.dtype.itemsize
        self.clock = Clock(device)
        self.rows: list[dict] = []
        self.tried: list[dict] = []

    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - self.gone()

    def gone(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self.began

    def sets(self, layer: Layer) -> list[SimpleNamespace]:
        """Inputs that together are more than the cache holds."""
        one = tensors_of(layer, self.device, self.dtype)
        count = 1 + CACHE // max(1, sum(map(bytes_of, vars(one).values())))
        others = 0 if self.tiny else min(count, MOST_SETS) - 1
        return [one, *(tensors_of(layer, self.device, self.dtype) for _ in range(others))]

    def compile_ahead(self, layers: Sequence[Layer], of: Sequence[Pass], patches: Sequence[dict]) -> str:
        """Compile on all cores what the passes will launch with several block sizes; says how long it took."""
        if self.device == 'cpu':
            return 'the interpreter compiles nothing'
        began = time.monotonic()
        with compiling(os.cpu_count() or 1) as submitted:
            for layer in (group[0] for group in by_form(layers)):
                # Few images, but of a number for which the same is compiled.
                few = replace(layer, batch=min(layer.batch, 32))
                t = tensors_of(few, self.device, self.dtype)
                for patch, which in product(patches, of):
                    if which.family == layer.family:
                        with patched(patch, self.size), suppress(Exception):  # it will be told where it is measured
                            which.ours(t)
        return f'{len(submitted)} kernels compiled in {time.monotonic() - began:.1f} s'

    def compare(self) -> None:
        """Every pass of every layer with the present block sizes, and torch's."""
        print(f'\n{"pass":25} {"layer":33} {"us":>8} {"floor":>6} {"NHWC, first":>17} {"NCHW, first":>17}   error')
        slow = spread([layer for layer in self.layers if layer.family == 'depthwise'], SLOW_SHAPES)
        torch_too = True
        for layer in self.layers:
            if torch_too and self.left() < 0.4 * self.seconds:
                torch_too = False
                print("most of the time is up: torch's operations are left out from here on", flush=True)
            of = [which for which in self.passes if which.family == layer.family]
            rows = [{'family': layer.family, 'pass': which.name, 'layer': str(layer)} for which in of]
            for which, row in zip(of, rows, strict=True):
                with told(row, 'fault'):
                    self._ours(which, layer, row)
            for layout in LAYOUTS if torch_too else ():
                for which, row in zip(of, rows, strict=True):
                    too_slow = layout == 'NHWC' and which.compiles and layer not in slow
                    if not too_slow and (layout == 'NHWC' or layer.family != 'add'):
                        with told(row, f'{layout}_fault'):
                            self._torchs(which, layer, layout, row)
            for row in rows:
                print(row_of(row), flush=True)
            self.rows += rows

    def _ours(self, which: Pass, layer: Layer, row: dict) -> None:
        sets = self.sets(layer)
        expected = exact_result(which, sets[0])
        moved = sum(bytes_of(getattr(sets[0], name)) for name in which.reads)
        result, first = self.clock.first(which.ours, sets[0])
        row |= {'first_ms': first * 1e3, 'error': error_of(result, expected), 'bytes': moved + bytes_of(result)}
        del result, expected
        seconds = self.clock.steady(which.ours, sets)
        row |= {'us': seconds * 1e6, 'floor': row['bytes'] / self.clock.copy_rate / seconds}

    def _torchs(self, which: Pass, layer: Layer, layout: str, row: dict) -> None:
        sets = [in_layout(t, layout, self.dtype) for t in self.sets(layer)]
        call = gradients(which.torch, which.leaves) if which.leaves else which.torch
        row[f'{layout}_first_ms'] = self.clock.first(call, sets[0])[1] * 1e3
        seconds = self.clock.steady(call, sets)
        if which.leaves:
            seconds = max(seconds - self.clock.steady(which.torch, sets), 1e-9)
        row[f'{layout}_us'] = seconds * 1e6

    def tune(self) -> list[str]:
        """Try the candidates until the time is up; what was not tried."""
        entries = [name for name in CANDIDATES if any(name in which.entries for which in self.passes)]
        queue = {name: [Blocks(*one) for one in CANDIDATES[name][: 1 if self.tiny else None]] for name in entries}
        print(f'\n{"entry":17} {"rows":>5} {"channels":>8} {"warps":>5} {"programs":>8} {"us":>9} {"/ present":>9}')
        longest = 0.0
        while any(queue.values()):
            for name in entries:
                if not queue[name]:
                    continue
                if self.left() < 1.3 * longest + 2:
                    return [f'{name} {tuple(blocks)}' for name, rest in queue.items() for blocks in rest]
                began = time.monotonic()
                tried, queue[name] = queue[name][:AT_ONCE], queue[name][AT_ONCE:]
                self._try(name, [blocks for blocks in tried if blocks != BLOCK_SIZES[name][self.size]])
                longest = max(longest, time.monotonic() - began)
        return []

    def tuning_layers(self, of: Sequence[Pass]) -> list[Layer]:
        """Of every form of layers of such passes the first and the last."""
        families = {which.family for which in of}
        layers = [layer for layer in self.layers if layer.family in families and layer.batch <= 64]
        return [layer for group in by_form(layers) for layer in spread(group, 1 if self.tiny else 2)]

    def _try(self, name: str, candidates: list[Blocks]) -> None:
        of = [which for which in self.passes if name in which.entries]
        layers = self.tuning_layers(of)
        with failure_said():
            self.compile_ahead(layers, of, [{name: blocks} for blocks in candidates])
        present = BLOCK_SIZES[name][self.size]
        rows = [{'entry': name, 'blocks': blocks, 'seconds': []} for blocks in (present, *candidates)]
        for which, layer in ((which, layer) for layer in layers for which in of if which.family == layer.family):
            sets = self.sets(layer)
            right = exact_result(which, sets[0])
            for row in (row for row in rows if 'fault' not in row):
                with told(row, 'fault'), patched({name: row['blocks']}, self.size):
                    error = error_of(which.ours(sets[0]), right)
                    if not error <= TOLERANCES[self.dtype]:
                        raise ArithmeticError(f'{which}: the result differs by {error:.1g} of its norm')
                    row['seconds'].append(self.clock.steady(which.ours, sets))
        for row in rows:
            seconds = row.pop('seconds')
            if 'fault' not in row:
                row['us'] = sum(seconds) * 1e6
                row['ratio'] = row['us'] / rows[0]['us'] if 'us' in rows[0] else float('nan')
            found = f'{row["us"]:9.1f} {row["ratio"]:9.3f}' if 'us' in row else f'failed: {row["fault"]}'
            one, present = row['blocks'], '  present' if row is rows[0] else ''
            print(
                f'{name:17} {one.rows:5} {one.channels:8} {one.warps:5} {one.programs:8} {found}{present}', flush=True
            )
        self.tried += rows[1:]

    def best(self) -> dict[str, Blocks]:
        """By entry, what is faster than the present block sizes."""
        found = {}
        for row in sorted((row for row in self.tried if 'us' in row), key=lambda row: row['ratio']):
            if row['ratio'] <= GAIN:
                found.setdefault(row['entry'], row['blocks'])
        return found

    def together(self, patch: dict[str, Blocks]) -> None:
        """The passes with all that is suggested at once, over the layers that it was chosen by."""
        for which in self.passes:
            if set(which.entries) & set(patch) and self.left() > 3:
                before = after = 0.0
                for layer in self.tuning_layers([which]):
                    sets = self.sets(layer)
                    before += self.clock.steady(which.ours, sets)
                    with patched(patch, self.size):
                        after += self.clock.steady(which.ours, sets)
                print(f'{which!s:25} {before * 1e6:9.1f} -> {after * 1e6:9.1f} us, {after / before:.3f}', flush=True)


@contextmanager
def told(row: dict, key: str) -> Iterator[None]:
    """A failure within becomes a word of the row."""
    try:
        yield
    except Exception as error:
        row[key] = first_line(error)


def row_of(row: dict) -> str:
    """A line of the first table."""

    def torchs(layout: str) -> str:
        if f'{layout}_fault' in row:
            return f'{"failed":>17}'
        if f'{layout}_us' not in row:
            return f'{"-":>17}'
        return f'{row[f"{layout}_us"]:8.1f} {row[f"{layout}_first_ms"]:8.1f}'

    ours = f'{row["us"]:8.1f} {row["floor"]:6.0%}' if 'us' in row else f'{"failed":>15}'
    end = ''.join(f'  {key}: {value}' for key, value in row.items() if key.endswith('fault'))
    error = f'{row["error"]:7.1e}' if 'error' in row else ''
    name = f'{row["family"]} {row["pass"]}'
    return f'{name:25} {row["layer"]:33} {ours} {torchs("NHWC")} {torchs("NCHW")} {error}{end}'


def summary_of(bench: Bench, suggested: dict[str, Blocks], missing: list[str]) -> dict:
    """What the last line says: of each pass the sums over its layers."""
    found = {}
    for which in bench.passes:
        rows = [row for row in bench.rows if (row['family'], row['pass']) == (which.family, which.name)]
        done = [row for row in rows if 'us' in row]
        one = {'layers': len(rows), 'failed': len(rows) - len(done), 'us': round(sum(row['us'] for row in done), 1)}
        if done:
            floor = sum(row['bytes'] for row in done) / bench.clock.copy_rate * 1e6
            one |= {'floor': round(floor / one['us'], 3), 'error': float(f'{max(row["error"] for row in done):.2g}')}
        for layout in LAYOUTS:
            both = [row for row in done if f'{layout}_us' in row]
            if both:
                ratio = sum(row['us'] for row in both) / sum(row[f'{layout}_us'] for row in both)
                one[f'/ {layout}'] = round(ratio, 3)
        found[str(which)] = one
    return {
        'copy_gb_s': round(bench.clock.copy_rate / 1e9),
        'passes': found,
        'suggested': {name: list(blocks) for name, blocks in suggested.items()},
        'tried': len(bench.tried),
        'failed': sum('fault' in row for row in bench.tried),
        'not_tried': len(missing),
        'seconds': round(bench.gone(), 1),
    }


def text_of(blocks: Blocks) -> str:
    """As block_sizes.py has it."""
    return f'Blocks{tuple(blocks) if blocks.programs else tuple(blocks)[:3]}'


@contextmanager
def failure_said() -> Iterator[None]:
    """A failure within, of a GPU that is out of order, say, is printed, and the script goes on."""
    try:
        yield
    except Exception as error:
        print(f'failed: {first_line(error)}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Every kernel against torch, and other block sizes.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--seconds', type=float, default=90, help='the whole run takes about this')
    parser.add_argument('--dtype', choices=DTYPES, default='bfloat16')
    parser.add_argument('--only', choices=FAMILIES, help='one family of kernels')
    parser.add_argument('--tiny', action='store_true', help="the demo's space and two images, to rehearse on a CPU")
    parser.add_argument('--out', type=Path, metavar='DIR', help='every row goes to DIR/kernels.json')
    args = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if find_spec('triton') is None:
        sys.exit(print('kernels.py: Triton is not installed: nothing was measured'))
    if not on_gpu and not (args.tiny and os.environ.get('TRITON_INTERPRET') == '1'):
        sys.exit(
            print('kernels.py: torch finds no GPU here: nothing was measured. To rehearse: TRITON_INTERPRET=1, --tiny')
        )
    device = 'cuda' if on_gpu else 'cpu'
    name = torch.cuda.get_device_name() if on_gpu else 'CPU, Triton interpreted'
    print(f'{name}; torch {torch.__version__}, {args.dtype}; {args.seconds:.0f} s', flush=True)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True  # as in a training
    config = load_config(str(ROOT / (TINY_CONFIG if args.tiny else CONFIG)))
    layers = chosen_layers(SearchSpace.from_dict(config.algorithm.architecture.backbone.search_space), args.tiny)
    layers = [layer for layer in layers if args.only in (None, layer.family)]
    of = [which for which in passes() if args.only in (None, which.family)]
    bench = Bench(args, layers, of, device)
    print(
        f'copy {bench.clock.copy_rate / 1e9:,.0f} GB/s, {len(layers)} layers; {bench.gone():.0f} s gone',
        flush=True,
    )
    missing: list[str] = []
    with failure_said():
        print(bench.compile_ahead(layers, of, [{}]), flush=True)
    with failure_said():
        bench.compare()
    with failure_said():
        missing = bench.tune()
    suggested = bench.best()
    if missing:
        print(f'\nthe time is up; not tried: {"; ".join(missing)}')
    if suggested:
        print(f'\nfor BLOCK_SIZES, numbers of {bench.size} bytes:')
        for entry, blocks in suggested.items():
            sizes = {**BLOCK_SIZES[entry], bench.size: blocks}.items()
            print(f'    {entry!r}: {{{", ".join(f"{size}: {text_of(one)}" for size, one in sizes)}}},')
        with failure_said():
            bench.together(suggested)
    elif bench.tried:
        print('\nno candidate is faster than the present BLOCK_SIZES')
    summary = {'gpu': name, 'dtype': args.dtype, **summary_of(bench, suggested, missing)}
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        rows = {'rows': bench.rows, 'tried': bench.tried, 'not_tried': missing}
        (args.out / 'kernels.json').write_text(json.dumps({**summary, **rows}, indent=1))
    print(json.dumps(summary))


if __name__ == '__main__':
    main()
