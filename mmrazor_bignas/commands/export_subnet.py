"""Cut a calibrated static subnet out of a trained supernet.

bignas export-subnet CONFIG CHECKPOINT --mutable-cfg FILE.yaml --out FILE.pth
"""

import argparse
from pathlib import Path

from mmrazor_bignas.deployment.export import static_checkpoint
from mmrazor_bignas.engine.checkpoints import save_atomically
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_allow_pickle, add_cfg_options, load_config


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'Export a calibrated static subnet.',
        'digits_subnet.py work_dirs/demo/epoch_80.pth --mutable-cfg min --out smallest.pth',
    )
    parser.add_argument('config', help='config of a subnet, training or search; says what to calibrate on')
    parser.add_argument('checkpoint', help="the trained supernet's checkpoint")
    parser.add_argument(
        '--mutable-cfg', required=True, help="the subnet: a YAML file, 'min', 'max' or a published name"
    )
    parser.add_argument('--out', required=True, help='the file to write')
    add_cfg_options(parser)
    add_allow_pickle(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args.config, args.cfg_options)
    _, checkpoint, found = static_checkpoint(cfg, args.mutable_cfg, args.checkpoint, args.allow_pickle)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    save_atomically(checkpoint, args.out)
    how = 'extracted and calibrated' if found == 'supernet' else 'was exported before, copied'
    print(f'{args.out}: {how}; {checkpoint["meta"]["flops"]:,} FLOPs, {checkpoint["meta"]["params"]:,} params')
