"""The rows of benchmarks/gpu.sh: what training costs on one GPU, in one table and one line of JSON.

python benchmarks/gpu_rows.py [--batch 64] [--seconds 360] [--out DIR] [--peer PATH] [--rehearse]

Every row is a process of its own with a limit in seconds. The first ones count most; where the time is short, the last
ones are left out. All share caches of compiled kernels, which are empty at first.

first: seconds of a training's first step, in which kernels are compiled.
new, max: median and maximum of steps with new random subnets each. known: of the same steps again.
images/s: of the median step with new subnets.
kernels, ms, busy: of one step, its kernels, the sum of their times, and the share of the step's time in which the GPU
    is at work. GiB: the peak of memory.

fused, torch and nchw are the ways of MMRAZOR_BIGNAS_KERNELS. --out gets log.txt (all outputs), profiles.txt and
gpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
TINY_CONFIG = 'configs/demo/digits_supernet.py'
REHEARSAL_LIMIT, REHEARSAL_SECONDS = 25, 170
LEAST_SECONDS = 15  # a row begins with this much left, or not at all
COLUMNS = {
    'first': ('first_s', '8.2f'),
    'new': ('new_s', '7.3f'),
    'max': ('new_max_s', '7.3f'),
    'known': ('known_s', '7.3f'),
    'max ': ('known_max_s', '7.3f'),
    'images/s': ('images_per_second', '9.1f'),
    'kernels': ('kernels', '8,'),
    'ms': ('kernel_ms', '7.1f'),
    'busy': ('busy', '5.0%'),
    'GiB': ('peak_gib', '6.2f'),
}


@dataclass
class Row:
    """One process.

    Attributes:
        name: In the table.
        limit: Seconds that it may take.
        command: Script, from the folder of this file, and its arguments.
        way: Of MMRAZOR_BIGNAS_KERNELS; None leaves it to the package.
        batch: Images of a step; 0 where it is none.
        found: What it said.
    """

    name: str
    limit: float
    command: list[str]
    way: str | None = None
    batch: int = 0
    found: dict = field(default_factory=dict)

    def line(self) -> str:
        cells = []
        for title, (key, form) in COLUMNS.items():
            width = max(len(title.strip()), int(form.split('.')[0].strip(',%')))
            cells.append(f'{self.found[key]:{form}}'.rjust(width) if key in self.found else '-'.rjust(width))
        return f'{self.name:26} {" ".join(cells)}  {self.found.get("note", "")}'.rstrip()


def header() -> str:
    widths = (max(len(title.strip()), int(form.split('.')[0].strip(',%'))) for title, (_, form) in COLUMNS.items())
    return f'{"":26} ' + ' '.join(title.strip().rjust(width) for title, width in zip(COLUMNS, widths, strict=True))


def rows_of(args: argparse.Namespace) -> list[Row]:
    """What is run, what counts most first."""
    tiny = args.rehearse

    def steps(name: str, limit: float, way: str | None = 'fused', number: int = 20, batch: int = args.batch, **options):
        command = ['gpu_step.py', '--batch', batch, '--steps', 1 if tiny else number]
        command += ['--config', TINY_CONFIG] if tiny else []
        for option, value in options.items():
            command += [f'--{option.replace("_", "-")}', *([] if value is True else [value])]
        return Row(name, min(limit, REHEARSAL_LIMIT) if tiny else limit, list(map(str, command)), way, batch)

    device = 'cpu' if tiny else 'cuda'
    candidate = ['evaluate_subnet.py', '--json', '--device', device]
    candidate += ['--images', '2', '--rounds', '1'] if tiny else ['--dtype', 'bfloat16', '--rounds', '2']
    found = [
        steps('fused bfloat16', 100),
        steps('  filled caches', 40, first_alone=True),
        steps('nchw bfloat16', 60, 'nchw', 10),
        steps('torch bfloat16', 60, 'torch', 5),
        steps('fused float32', 60, number=8, dtype='float32'),
        steps('fused float16', 60, number=8, dtype='float16'),
        Row('a candidate', 60, candidate),
        Row('the demo', 150, ['../tools/demo.py', '--work-dir', f'{args.scratch}/demo']),
        Row('training from JPEG files', 40, ['input_wait.py', '--json', '--batch', str(args.batch)]),
        steps('fused bfloat16 compiled', 90, number=8, compile=True),
        steps('fused bfloat16, batch 256', 60, number=5, batch=256),
    ]
    if tiny:
        left_out = ('the demo', 'training from JPEG files')
        found = [row for row in found if row.name not in left_out and row.batch <= args.batch]
    if args.peer:
        found.append(steps("AttentiveNAS's, bfloat16", 60, None, 10, peer=args.peer.resolve()))
    return found


def run(row: Row, seconds: float, args: argparse.Namespace) -> None:
    """Run a row for so many seconds at most; what it found, or why it found nothing."""
    command = [sys.executable, str(HERE / row.command[0]), *row.command[1:]]
    profile = Path(args.scratch) / 'profile.txt'
    if row.batch:
        command += ['--seconds', str(seconds), '--profile', str(profile)]
    paths = [str(HERE.parent), *filter(None, [os.environ.get('PYTHONPATH')])]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'PYTHONUNBUFFERED': '1'}
    env |= {'TRITON_CACHE_DIR': f'{args.scratch}/triton', 'TORCHINDUCTOR_CACHE_DIR': f'{args.scratch}/inductor'}
    for name in ('MMRAZOR_BIGNAS_KERNELS', 'TRITON_INTERPRET'):
        env.pop(name, None)
    env |= {'MMRAZOR_BIGNAS_KERNELS': row.way} if row.way else {}
    env |= {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''} if args.rehearse else {}
    began, output = time.monotonic(), Path(args.scratch) / 'output.txt'
    with open(output, 'wb') as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=env, start_new_session=True)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started
                process.wait()
    text = output.read_text(errors='replace')
    lines = text.strip().splitlines() or ['']
    row.found = next((found for line in reversed(lines) if (found := json_of(line))), {})
    row.found['wall_s'] = round(time.monotonic() - began, 1)
    note = row.found.get('note', '')
    if replaced := sum("is not used, torch's operations take its place" in line for line in lines):
        note = f'{replaced} kernels are not used, see log.txt'
    if code is None:
        note = f'not done in {seconds:.0f} s'
    elif code:
        note = f'failed: {last_word(lines)}'
    elif not row.batch:  # says it in its own way
        numbers = {key: value for key, value in row.found.items() if key not in ('wall_s', 'note')}
        said = ', '.join(f'{key} {value:.4g}' for key, value in numbers.items() if isinstance(value, (int, float)))
        note = f'{row.found["wall_s"]:.0f} s in all{"; " * bool(said)}{said}'
    if note:
        row.found['note'] = note
    if 'new_s' in row.found:
        row.found['images_per_second'] = round(row.batch / row.found['new_s'], 1)
    with open(args.out / 'log.txt', 'a') as log:
        log.write(f'==== {row.name.strip()}: {" ".join(command)}\n{text}\n')
    if profile.exists():
        with open(args.out / 'profiles.txt', 'a') as profiles:
            profiles.write(f'==== {row.name.strip()}\n{profile.read_text()}\n')
        profile.unlink()


def json_of(line: str) -> dict | None:
    try:
        found = json.loads(line) if line.startswith('{') else None
    except ValueError:  # the process ended in the middle of it
        return None
    return found if isinstance(found, dict) else None


def last_word(lines: list[str]) -> str:
    """The line of an output that says most of a failure."""
    said = [line for line in lines if 'rror' in line and not line.startswith((' ', '{'))]
    return (said or lines)[-1][:160]


def process_age() -> float:
    """Seconds since this process began, imports included (Linux)."""
    ticks = int(Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(
        description='What training costs on one GPU.', formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--batch', type=int, default=64, help='images of a step')
    parser.add_argument('--seconds', type=float, default=360, help='the whole run takes no longer')
    parser.add_argument('--out', type=Path, metavar='DIR', help='for outputs and profiles; else a temporary one')
    parser.add_argument('--peer', type=Path, metavar='PATH', help="a clone of AttentiveNAS's repository")
    parser.add_argument('--rehearse', action='store_true', help="one step of each row on a CPU, of the demo's space")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('gpu.sh: stopped'))  # and a row with it
    print('gpu.sh: looking for a GPU', flush=True)
    code = 'import torch; g = torch.cuda; print(torch.__version__, g.get_device_name() if g.is_available() else "")'
    looked = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    if looked.returncode:
        sys.exit(f'gpu.sh: torch cannot be imported: {last_word(looked.stderr.strip().splitlines() or [""])}')
    version, _, gpu = looked.stdout.strip().partition(' ')
    if args.rehearse:
        gpu, args.seconds = 'rehearsal on a CPU', min(args.seconds, REHEARSAL_SECONDS)
    if not gpu:
        print('gpu.sh: torch finds no GPU here: nothing was measured. On a CPU: python benchmarks/train_step.py')
        return
    args.out = args.out or Path(tempfile.mkdtemp(prefix='gpu_sh_'))
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as args.scratch:
        print(f'{gpu}; torch {version}; {args.batch} images a step; outputs go to {args.out}\n{header()}', flush=True)
        rows = rows_of(args)
        for row in rows:
            left = args.seconds - (time.monotonic() - began)
            if left < LEAST_SECONDS:
                row.found = {'note': 'left out: the time is up'}
            else:
                run(row, min(row.limit, left), args)
            print(row.line(), flush=True)
    seconds = round(time.monotonic() - began, 1)
    print(f'\n{gpu}; torch {version}; {args.batch} images a step; {seconds:.0f} s\n{header()}')
    for row in rows:
        print(row.line())
    summary = {'gpu': gpu, 'torch': version, 'batch': args.batch, 'seconds': seconds}
    summary['rows'] = {row.name.strip(): row.found for row in rows}
    (args.out / 'gpu.json').write_text(json.dumps(summary, indent=1))
    print(json.dumps(summary))


if __name__ == '__main__':
    main()
