"""Draw a training from the log in its work dir, while it runs or afterwards: the figure that a training ends with.

python tools/visualizations/plot_training.py WORK_DIR [--out learning_curve.png]
"""

import argparse
from pathlib import Path

from mmrazor_bignas.engine.learning_curve import CURVE_FILE, draw_learning_curve, read_training_log
from mmrazor_bignas.engine.main import run_tool
from mmrazor_bignas.engine.plots import save_figure


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='plot_training.py', description='Draw losses and accuracies of a training.')
    parser.add_argument('work_dir', help='work dir of the training')
    parser.add_argument('--out', help=f'the image to write; default: {CURVE_FILE} in the work dir')
    return parser


def main(args: argparse.Namespace) -> None:
    log = read_training_log(args.work_dir)
    out = args.out or Path(args.work_dir) / CURVE_FILE
    save_figure(draw_learning_curve(log), out)
    print(f'{out}: {log.train[-1]["step"]} iterations, {len(log.val)} validations')


if __name__ == '__main__':
    run_tool(main, build_parser())
