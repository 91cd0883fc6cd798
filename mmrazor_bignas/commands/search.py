"""Search a trained supernet: strategy and limits are in the config.

bignas search CONFIG --checkpoint FILE [--work-dir DIR] [--resume] [--cfg-options KEY=VALUE ...]
"""

import argparse

from mmengine.config import Config

from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_common_arguments, build_runner, load_config
from mmrazor_bignas.engine.writer_lock import one_writer
from mmrazor_bignas.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'Search a trained supernet.',
        'digits_search.py --checkpoint work_dirs/demo/epoch_80.pth --work-dir work_dirs/digits_search',
    )
    parser.add_argument('config', help='config of a search')
    parser.add_argument('--checkpoint', required=True, help='the trained supernet')
    parser.add_argument('--resume', action='store_true', help='go on with the history of the work dir')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast for the forward passes')
    add_common_arguments(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    if 'train_cfg' in cfg or 'val_cfg' not in cfg:
        raise InputError(f'{args.config}: expected the config of a search, with val_cfg and without train_cfg')
    search(cfg, args)


def search(cfg: Config, args: argparse.Namespace) -> None:
    """What ``bignas train`` does, too, with the config of a search."""
    cfg.load_from = args.checkpoint
    cfg.val_cfg.resume = bool(args.resume)
    if args.amp:
        cfg.val_cfg.amp = True
    with one_writer(cfg.work_dir) as lock:
        runner = build_runner(cfg, args.launcher)
        for note in lock.notes:
            runner.logger.warning(note)
        runner.val()
