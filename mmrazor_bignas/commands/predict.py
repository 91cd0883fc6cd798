"""Name the classes of images, by an exported file.

bignas predict MODEL IMAGE|FOLDER ... [--top 5] [--batch-size N] [--out FILE.jsonl]
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from mmrazor_bignas.datasets.class_folders import EXTENSIONS
from mmrazor_bignas.deployment.predictor import BATCH_SIZE, TOP, Predictor
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'The likeliest classes of images, a JSON line each. What cannot be read is said and left out; '
        'the exit code is 1 if that is all.',
        'digits.onnx photographs --top 1 --out classes.jsonl',
    )
    parser.add_argument('model', help='a file of bignas export: .pth or .onnx')
    parser.add_argument('images', nargs='+', help='image files, and folders of them')
    parser.add_argument('--top', type=int, default=TOP, metavar='N', help='classes per image; default: %(default)s')
    parser.add_argument(
        '--batch-size', type=int, default=BATCH_SIZE, metavar='N', help='images at a time; default: %(default)s'
    )
    parser.add_argument('--out', metavar='FILE.jsonl', help='write the lines to this file, not to standard output')
    parser.add_argument(
        '--config', help="config of a subnet's checkpoint that was not exported for use, as a search leaves them"
    )
    return parser


def find_images(paths: list[str]) -> list[str]:
    """Files, and the images in and below folders, in the order of their names."""
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(str(path))
            continue
        inside = sorted(str(file) for file in path.rglob('*') if file.suffix.lower() in EXTENSIONS)
        if not inside:
            raise InputError(f'{path}: no image in the folder; expected files {", ".join(sorted(EXTENSIONS))}')
        found += inside
    return found


def main(args: argparse.Namespace) -> None:
    if args.out and Path(args.out).suffix != '.jsonl':
        raise InputError(f'--out {args.out}: lines of JSON are written; expected a name that ends in .jsonl')
    for option, value in (('--top', args.top), ('--batch-size', args.batch_size)):
        if value < 1:
            raise InputError(f'{option} {value}: expected 1 or more')
    images = find_images(args.images)
    predictor = Predictor(args.model, args.config)

    def lines() -> Iterator[str]:
        watched = sys.stderr.isatty()
        results = predictor.stream(images, args.top, args.batch_size)
        number = 0
        with tqdm(total=len(images), desc='predict', unit=' images', mininterval=0.1 if watched else 10) as bar:
            for result in results:
                bar.update()
                if 'error' in result:
                    bar.write(f'{result["image"]}: {result["error"]}', file=sys.stderr)
                    continue
                number += 1
                yield json.dumps(result, ensure_ascii=False) + '\n'
        if not number:
            raise InputError(f'none of {len(images):,} images can be used')

    if args.out:
        write_atomically(args.out, lambda file: file.writelines(line.encode() for line in lines()))
        return
    for line in lines():
        print(line, end='', flush=True)
