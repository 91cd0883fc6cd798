"""Export a searched subnet to a file that is ready for use, and check it.

bignas export CONFIG CHECKPOINT --format pth|onnx|torch.export|torchscript --out FILE
"""

import argparse
from pathlib import Path

from mmrazor_bignas.deployment.export import MAX_LOSS, Wishes, export, static_checkpoint
from mmrazor_bignas.deployment.formats import FORMATS
from mmrazor_bignas.deployment.mmcls_config import write_mmcls_config
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_allow_pickle, add_cfg_options, load_config
from mmrazor_bignas.engine.storage import check_target
from mmrazor_bignas.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'Export a subnet for use, and check the file.',
        'digits_subnet.py work_dirs/demo/best_subnet.pth --format onnx --out digits.onnx',
    )
    parser.add_argument('config', help='config of a subnet, search or training; says how images are prepared')
    parser.add_argument('checkpoint', help="an exported subnet's checkpoint, or a supernet's")
    parser.add_argument('--format', choices=FORMATS, required=True, help='kind of file')
    parser.add_argument('--out', required=True, help='the file to write; an earlier one is replaced')
    parser.add_argument(
        '--mutable-cfg', help="the subnet to cut out of a supernet: a YAML file, 'min', 'max' or a published name"
    )
    parser.add_argument('--fold-bn', action='store_true', help='fold batch normalisation into the convolutions')
    parser.add_argument('--softmax', action='store_true', help='give probabilities, not logits')
    parser.add_argument(
        '--with-preprocessing',
        action='store_true',
        help='take uint8 images (N, height, width, 3) in RGB, resized and cropped already, and normalise them inside',
    )
    parser.add_argument('--int8', action='store_true', help='quantise an ONNX file')
    parser.add_argument(
        '--max-loss',
        type=float,
        default=MAX_LOSS,
        metavar='POINTS',
        help='points of top-1 accuracy that --int8 may cost; default: %(default)s',
    )
    parser.add_argument(
        '--mmcls-config', metavar='FILE.py', help="with --format pth: write a config for mmcls's own inferencer, too"
    )
    add_cfg_options(parser)
    add_allow_pickle(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    out = Path(args.out)
    wishes = Wishes(args.format, args.fold_bn, args.softmax, args.with_preprocessing, args.int8, args.max_loss)
    wishes.check(out)
    if args.mmcls_config and (args.format != 'pth' or Path(args.mmcls_config).suffix != '.py'):
        raise InputError(f'--mmcls-config {args.mmcls_config}: expected --format pth, and a name that ends in .py')
    check_target(out, f'--out {out}', args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    model, checkpoint, _ = static_checkpoint(cfg, args.mutable_cfg, args.checkpoint, args.allow_pickle)
    card = export(cfg, model, checkpoint['meta'], out, wishes)
    if args.mmcls_config:
        write_mmcls_config(card, args.mmcls_config)
        print(f'{args.mmcls_config}: a config of {out} for mmcls')
