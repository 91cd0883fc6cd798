"""Read a subnet in anybody's form and write it in another.

bignas convert subnet IN OUT [--to mmrazor_bignas|mmrazor|attentivenas] [--config CONFIG]
"""

import argparse

from mmrazor_bignas.api import DEFAULT_CONFIG
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.engine.storage import check_target, write_atomically
from mmrazor_bignas.search_space import SearchSpace, estimate, resolve
from mmrazor_bignas.search_space.formats import WRITERS
from mmrazor_bignas.search_space.lookup import find_subnet


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser('Convert the description of a subnet.', 'attentivenas-a3 a3_mmrazor.yaml --to mmrazor')
    parser.add_argument('subnet', metavar='IN', help="a YAML file of ours, MMRazor's or AttentiveNAS's, or a name")
    parser.add_argument('out', metavar='OUT', help='the file to write')
    parser.add_argument('--to', choices=list(WRITERS), default='mmrazor_bignas', help='whose form to write')
    parser.add_argument('--config', default=str(DEFAULT_CONFIG), help='config that says what the search space is')
    return parser


def main(args: argparse.Namespace) -> None:
    architecture = load_config(args.config).algorithm.architecture
    space = SearchSpace.of_backbone(architecture.backbone)
    subnet = find_subnet(args.subnet, space)
    text = subnet.to_yaml(args.to)
    check_target(args.out, args.out)
    write_atomically(args.out, lambda file: file.write(text.encode()))
    cost = estimate(resolve(space, subnet), architecture.head.num_classes)
    print(f'{args.out}: {args.subnet} for {args.to}; {cost.flops:,} FLOPs, {cost.params:,} params')
