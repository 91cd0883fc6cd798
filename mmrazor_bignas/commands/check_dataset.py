"""Look at every image of a config's data sets before a training.

bignas check CONFIG [--part train|val|test ...] [--workers N] [--out FILE]
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrazor_bignas.engine.dataset_check import check_part, equality, find_duplicates
from mmrazor_bignas.engine.datasets import build_dataset, describe
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_cfg_options, load_config
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.engine.unreadable import list_first
from mmrazor_bignas.errors import InputError

PARTS = ('train', 'val', 'test')


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'Look at every image: does it decode, is its label one of the head, is it there twice. '
        'The exit code is 1 if something cannot be used.',
        'digits_supernet.py --part train',
    )
    parser.add_argument('config', help='config of a training, search or test')
    parser.add_argument('--part', nargs='+', choices=PARTS, help='what to look at; default: all that the config has')
    parser.add_argument('--workers', type=int, default=0, metavar='N', help='processes that decode; default: this one')
    parser.add_argument('--out', metavar='FILE', help='write all that was found to this file, not the first few')
    add_cfg_options(parser)
    return parser


def data_sets(cfg: Config) -> dict[str, dict]:
    """The data sets of a config by part; a search and a test have their training images for calibration."""
    found = {part: cfg.get(f'{part}_dataloader') for part in PARTS}
    loops = [cfg.get(key) or {} for key in ('val_cfg', 'test_cfg')]
    found['train'] = found['train'] or next(filter(None, (loop.get('calibrate_dataloader') for loop in loops)), None)
    return {part: loader['dataset'] for part, loader in found.items() if loader}


def main(args: argparse.Namespace) -> None:
    if args.workers < 0:
        raise InputError(f'--workers {args.workers}: expected 0 or more')
    cfg = load_config(args.config, args.cfg_options)
    found = data_sets(cfg)
    if missing := [part for part in args.part or () if part not in found]:
        raise InputError(f'--part {missing[0]}: {args.config} has no such data set; it has {list(found)}')
    if not found:
        raise InputError(f'{args.config}: has no data set; expected a config of a training, search or test')
    init_default_scope(cfg.get('default_scope', 'mmcls'))
    architecture = cfg.algorithm.get('architecture', cfg.algorithm)  # of a supernet, or a network alone
    parts, everything = [], []
    for name in args.part or found:
        dataset = build_dataset(found[name])
        part = check_part(name, dataset, architecture.head.num_classes, args.workers)
        parts.append(part)
        print(f'{name}: {describe(found[name])}: {part}', flush=True)
        everything += part.problems
    for words, groups in zip(
        ('the same pixels twice in a part', 'the same pixels in several parts, which a score does not survive'),
        find_duplicates(parts),
        strict=True,
    ):
        print(f'{words}: {len(groups):,}{list_first(map(equality, groups))}')
        everything += [equality(group, len(group)) for group in groups]
    if args.out:
        write_atomically(Path(args.out), lambda file: file.write('\n'.join([*everything, '']).encode(errors='replace')))
        print(f'{args.out}: {len(everything):,} lines')
    if unusable := sum(len(part.problems) for part in parts):
        raise InputError(f'{args.config}: {unusable:,} problems, which are named above')
