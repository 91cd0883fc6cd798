"""Test one subnet from an exported subnet's or a supernet's checkpoint.

bignas test CONFIG CHECKPOINT [--out FILE.json] [--amp] [--cfg-options algorithm.mutable_cfg=FILE.yaml ...]
"""

import argparse
import json
from pathlib import Path

from mmengine.dist import is_main_process

from mmrazor_bignas.engine.distributed import unwrapped
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_common_arguments, build_runner, load_config
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'Test one subnet.',
        'digits_subnet.py work_dirs/demo/epoch_80.pth --cfg-options algorithm.mutable_cfg=min',
    )
    parser.add_argument('config', help='config of a subnet')
    parser.add_argument('checkpoint', help="an exported subnet's or a supernet's checkpoint")
    # The third command has it; the metrics are the config's test_evaluator.
    parser.add_argument('--eval', nargs='+', choices=['accuracy'], default=['accuracy'], help='what to measure')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast for the forward passes')
    parser.add_argument('--out', help='write metrics, number of images, FLOPs and params to this JSON file')
    add_common_arguments(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    if args.out and Path(args.out).suffix != '.json':
        raise InputError(f'--out {args.out}: results are written as JSON; expected a name that ends in .json')
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    if 'test_cfg' not in cfg:
        raise InputError(f'{args.config}: has no test_cfg; expected the config of a subnet')
    cfg.test_cfg.checkpoint = args.checkpoint
    if args.amp:
        cfg.test_cfg.amp = True
    runner = build_runner(cfg, args.launcher)
    metrics = runner.test()
    if args.out and is_main_process():
        images = len(runner.test_loop.dataloader.dataset) - int(metrics.get('unreadable', 0))
        subnet = unwrapped(runner.model).subnet.to_dict()
        result = {**metrics, 'images': images, 'found': runner.test_loop.found, 'subnet': subnet}
        write_atomically(args.out, lambda file: file.write(json.dumps(result).encode() + b'\n'))
