"""A supernet of MMRazor's BigNAS as ours.

bignas convert mmrazor IN OUT [--config CONFIG] [--skip-pickled]
"""

import argparse

from mmrazor_bignas.converters import MMRAZOR
from mmrazor_bignas.converters.tool import convert_file, converter_parser


def build_parser() -> argparse.ArgumentParser:
    return converter_parser(MMRAZOR, 'attentive_mobilenet_supernet_32xb64_in1k.pth work_dirs/mmrazor.pth')


def main(args: argparse.Namespace) -> None:
    convert_file(args, MMRAZOR)
