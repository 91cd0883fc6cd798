"""Draw a training from the log in its work dir, while it runs or afterwards: the figure that a training ends with.

bignas report training WORK_DIR [--out learning_curve.png]
"""

import argparse
from pathlib import Path

from mmrazor_bignas.engine.learning_curve import CURVE_FILE, draw_learning_curve, read_training_log
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.plots import save_figure


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser('Draw losses and accuracies of a training.', 'work_dirs/demo --out so_far.png')
    parser.add_argument('work_dir', help='work dir of the training')
    parser.add_argument('--out', help=f'the image to write; default: {CURVE_FILE} in the work dir')
    return parser


def main(args: argparse.Namespace) -> None:
    log = read_training_log(args.work_dir)
    out = args.out or Path(args.work_dir) / CURVE_FILE
    save_figure(draw_learning_curve(log), out)
    print(f'{out}: {log.train[-1]["step"]} iterations, {len(log.val)} validations')
