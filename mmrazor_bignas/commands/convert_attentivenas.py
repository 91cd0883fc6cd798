"""A supernet of AttentiveNAS or AlphaNet as ours.

bignas convert attentivenas IN OUT [--config CONFIG] [--skip-pickled]
"""

import argparse

from mmrazor_bignas.converters import ATTENTIVENAS
from mmrazor_bignas.converters.tool import convert_file, converter_parser


def build_parser() -> argparse.ArgumentParser:
    return converter_parser(ATTENTIVENAS, 'attentive_nas_pretrained.pth.tar work_dirs/attentivenas.pth')


def main(args: argparse.Namespace) -> None:
    convert_file(args, ATTENTIVENAS)
