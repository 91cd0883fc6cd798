"""The whole path on scikit-learn's digits: train a supernet, search it, export the best subnet, test the exported file.

python tools/demo.py [--work-dir work_dirs/demo]

It runs the commands of the README one after the other, prints each, and ends with a table.
"""

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from mmrazor_bignas.engine.writer_lock import NAME, one_writer
from mmrazor_bignas.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs/demo'


def main() -> None:
    parser = argparse.ArgumentParser(prog='demo.py', description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/demo', help='replaced if it exists')
    work = parser.parse_args().work_dir
    start = time.monotonic()
    if work.exists():
        if not (work / 'digits_supernet.py').exists():
            sys.exit(
                f'demo.py: error: --work-dir {work} exists and is not of an earlier demo; remove it or choose another'
            )
        try:
            remove_content(work)
        except InputError as error:
            sys.exit(f'demo.py: error: {error}')

    # Ctrl-C is for the tools, each of which leaves in its own way; a handler, unlike SIG_IGN, is not inherited.
    signal.signal(signal.SIGINT, lambda *_: None)
    tool('train.py', CONFIGS / 'digits_supernet.py', '--work-dir', work)
    supernet = Path((work / 'last_checkpoint').read_text().strip())
    tool('train.py', CONFIGS / 'digits_search.py', '--checkpoint', supernet, '--work-dir', work)
    searched = work / 'best_subnet.yaml'

    smallest = test(work, supernet, 'min')
    largest = test(work, supernet, 'max')
    exported = test(work, work / 'best_subnet.pth', searched)
    extracted = test(work, supernet, searched)

    print('\ndigits, test split (seen by neither training nor search)')
    print(f'{"subnet":<10}{"FLOPs":>12}{"params":>10}{"top-1 %":>12}')
    for name, result in (('smallest', smallest), ('searched', exported), ('largest', largest)):
        print(f'{name:<10}{result["flops"]:>12,}{result["params"]:>10,}{result["accuracy/top1"]:>12.4f}')
    same = exported['accuracy/top1'] == extracted['accuracy/top1']
    print(
        f'exported file {exported["accuracy/top1"]!r} {"==" if same else "!="} '
        f'same subnet extracted from the supernet {extracted["accuracy/top1"]!r}'
    )
    print(f'{time.monotonic() - start:.0f} s; results in {work}')
    if not same:
        sys.exit('demo.py: error: the exported file does not score what its subnet scores')


def remove_content(folder: Path) -> None:
    """Of an earlier demo, unless it still runs."""
    with one_writer(folder):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != NAME:
                path.unlink()


def tool(name: str, *words: str | Path) -> None:
    """Run a tool and stop where it fails."""
    command = [sys.executable, str(ROOT / 'tools' / name), *map(str, words)]
    print(f'\n$ python tools/{name} {shlex.join(command[2:])}', flush=True)
    if code := subprocess.run(command).returncode:
        sys.exit(code if code > 0 else 128 - code)  # a signal, as a shell counts it


def test(work: Path, checkpoint: Path, subnet: str | Path) -> dict:
    """Test a subnet through tools/test.py; its metrics, FLOPs and params."""
    out = work / 'test.json'
    tool(
        'test.py',
        CONFIGS / 'digits_subnet.py',
        checkpoint,
        '--work-dir',
        work / 'test',
        '--out',
        out,
        '--cfg-options',
        f'algorithm.mutable_cfg={subnet}',
    )
    return json.loads(out.read_text())


if __name__ == '__main__':
    main()
