"""The whole path on scikit-learn's digits: train a supernet, search it, export the best subnet, test the exported file.

python tools/demo.py [--work-dir work_dirs/demo]

It runs the commands of the README one after the other, prints each, and ends with a table. "random" are the networks
with which the search began: drawn from those of its budget.
"""

import argparse
import json
import math
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from mmrazor_bignas.engine.writer_lock import NAME, one_writer
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import read_history

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs/demo'
RANDOM = 'random'


def main() -> None:
    parser = argparse.ArgumentParser(prog='demo.py', description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='replaced if it exists')
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

    exported = test(work, work / 'best_subnet.pth', searched)
    extracted = test(work, supernet, searched)
    others = evaluate(work, supernet)
    random = [others.pop(name) for name in sorted(others) if name.startswith(RANDOM)]
    mean = {key: statistics.mean(result[key] for result in random) for key in ('flops', 'params', 'accuracy/top1')}

    print(f'\ndigits, {exported["images"]} test images (seen by neither training nor search)')
    print(f'{"subnet":<18}{"FLOPs":>12}{"params":>10}{"top-1 %":>10}{"± error":>10}')
    rows = {
        'smallest': others['min'],
        f'mean of {len(random)} random': mean,
        'searched': exported,
        'largest': others['max'],
    }
    for name, result in rows.items():
        share = result['accuracy/top1'] / 100
        error = 100 * math.sqrt(share * (1 - share) / exported['images'])
        print(f'{name:<18}{result["flops"]:>12,.0f}{result["params"]:>10,.0f}{100 * share:>10.2f}{error:>10.2f}')
    print('error: one standard error of an accuracy on so many images')
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


def test(work: Path, checkpoint: Path, subnet: Path) -> dict:
    """Test a subnet through tools/test.py; its metrics, FLOPs, params and number of images."""
    out = work / 'test.json'
    words = ['--work-dir', work / 'test', '--out', out, '--cfg-options', f'algorithm.mutable_cfg={subnet}']
    tool('test.py', CONFIGS / 'digits_subnet.py', checkpoint, *words)
    return json.loads(out.read_text())


def evaluate(work: Path, supernet: Path) -> dict[str, dict]:
    """Test the smallest and the largest subnet and those with which the search began, in one process."""
    folder, out = work / 'first_generation', work / 'evaluate.json'
    folder.mkdir()
    for subnet, record in read_history(work / 'search_history.jsonl').items():
        if record['generation'] == 0:
            (folder / f'{RANDOM}{len(list(folder.iterdir()))}.yaml').write_text(subnet.to_yaml())
    subnets = ['min', 'max', *sorted(folder.iterdir())]
    tool('study.py', 'evaluate', CONFIGS / 'digits_subnet.py', supernet, *subnets, '--out', out)
    return json.loads(out.read_text())


if __name__ == '__main__':
    main()
