"""What weights of another data set are worth: digits to Fashion-MNIST, against new weights and the same epochs.

python benchmarks/transfer.py [--seeds 3] [--source-epochs 80] [--epochs 2 5] [--subnet max] [--data DIR] [--out DIR]

For each seed a supernet learns the digits and a subnet is exported. Then the subnet goes on with the 3,000 training
images of the study's Fashion-MNIST, as configs/transfer/fashion_mnist_subnet.py has it, and the same network begins
with new weights, for as many epochs at the same learning rates. Accuracies are those of 5,000 images that nothing was
trained on. A run that is done is not repeated: its number is in --out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parents[1]
TRANSFER = 'configs/transfer/fashion_mnist_subnet.py'
STARTS = ('from digits', 'new weights')


def run(tool: str, *words: object) -> None:
    """One of the tools, as a user calls it.

    Raises:
        SystemExit: It failed; ends with its last words.
    """
    done = subprocess.run(
        [sys.executable, f'tools/{tool}', *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f'tools/{tool} {" ".join(map(str, words))}\n{(done.stdout + done.stderr)[-1500:]}')


def schedule(epochs: int) -> list[str]:
    """The overrides of a training of so many epochs, whose cosine ends with it."""
    keys = ('param_scheduler.1.T_max', 'param_scheduler.1.end', 'train_cfg.max_epochs', 'train_cfg.val_interval')
    return [f'{key}={epochs}' for key in keys]


def exported(folder: Path, seed: int, subnet: str, epochs: int) -> Path:
    """A subnet of the digits' supernet of this seed."""
    file = folder / f'digits_{seed}_{subnet}.pth'
    if not file.exists():
        work_dir, config = folder / f'digits_{seed}', 'configs/demo/digits_supernet.py'
        options = [*schedule(epochs), f'randomness.seed={seed}']
        run('train.py', config, '--no-validate', '--work-dir', work_dir, '--cfg-options', *options)
        supernet = work_dir / f'epoch_{epochs}.pth'
        run('export_subnet.py', 'configs/demo/digits_subnet.py', supernet, '--mutable-cfg', subnet, '--out', file)
    return file


def accuracy(folder: Path, start: str, source: Path, seed: int, args: argparse.Namespace, epochs: int) -> float:
    """Top-1 in per cent after so many epochs of Fashion-MNIST."""
    work_dir = folder / f'{start.replace(" ", "_")}_{seed}_{args.subnet}_{epochs}'
    record = work_dir / 'top1.json'
    if not record.exists():
        options = [*schedule(epochs), f'randomness.seed={seed}', f'algorithm.mutable_cfg={args.subnet}']
        if args.data:
            parts = 'train_dataloader.dataset', 'val_dataloader.dataset'
            options += [f'{part}.dataset.data_prefix={args.data}' for part in parts]
        begin = ['--checkpoint', source, '--new-head'] if start == STARTS[0] else []
        run('train.py', TRANSFER, '--work-dir', work_dir, *begin, '--cfg-options', *options)
        scalars = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime)
        lines = [json.loads(line) for line in scalars.read_text().splitlines()]
        record.write_text(json.dumps([line['accuracy/top1'] for line in lines if 'accuracy/top1' in line][-1]))
    return json.loads(record.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3, help='how many (default 3)')
    parser.add_argument('--source-epochs', type=int, default=80, help='of the digits (default 80)')
    parser.add_argument('--epochs', type=int, nargs='+', default=[2, 5], help='of Fashion-MNIST (default 2 and 5)')
    parser.add_argument('--subnet', choices=('min', 'max'), default='max', help='which subnet (default the largest)')
    parser.add_argument('--data', help="folder with Fashion-MNIST's files; default: the config's")
    parser.add_argument('--out', default='work_dirs/transfer', help='where the runs go')
    args = parser.parse_args()
    folder = Path(args.out).resolve()
    args.data = args.data and Path(args.data).resolve()
    print(f'| epochs | seed | {" | ".join(STARTS)} |\n|---:|---:|{"---:|" * len(STARTS)}')
    for epochs in args.epochs:
        rows = []
        for seed in range(args.seeds):
            source = exported(folder, seed, args.subnet, args.source_epochs)
            rows.append([accuracy(folder, start, source, seed, args, epochs) for start in STARTS])
            print(f'| {epochs} | {seed} | {" | ".join(f"{value:.2f}" for value in rows[-1])} |', flush=True)
        if len(rows) > 1:
            cells = (f'{mean(column):.2f} ± {stdev(column):.2f}' for column in zip(*rows, strict=True))
            print(f'| {epochs} | mean | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
