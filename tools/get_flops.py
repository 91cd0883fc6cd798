"""Exact FLOPs and params of a subnet, from its spec alone.

python tools/get_flops.py CONFIG [--mutable-cfg FILE.yaml] [--json]
"""

import argparse
import json

from mmrazor_bignas.engine.main import run_tool
from mmrazor_bignas.engine.runner import add_cfg_options, load_config
from mmrazor_bignas.search_space import CONVENTION, SearchSpace, estimate, resolve
from mmrazor_bignas.search_space.lookup import find_subnet


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='get_flops.py', description='Exact FLOPs and params of a subnet.')
    parser.add_argument('config', help='config of a subnet, training or search')
    parser.add_argument(
        '--mutable-cfg',
        help="the subnet: a YAML file, 'min', 'max' or a published name; default: the config's, else the largest",
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object as the last line')
    add_cfg_options(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    algorithm = load_config(args.config, args.cfg_options).algorithm
    space = SearchSpace.from_dict(algorithm.architecture.backbone.search_space)
    name = args.mutable_cfg or algorithm.get('mutable_cfg', 'max')
    subnet = find_subnet(name, space)
    cost = estimate(resolve(space, subnet), algorithm.architecture.head.num_classes)
    print(f'subnet:     {name}')
    print(f'resolution: {subnet.resolution}')
    print(f'FLOPs:      {cost.flops:,} ({cost.flops / 1e6:,.2f} M)')
    print(f'params:     {cost.params:,} ({cost.params / 1e6:,.2f} M)')
    print(CONVENTION)
    if args.json:
        print(json.dumps({'flops': cost.flops, 'params': cost.params, 'resolution': subnet.resolution}))


if __name__ == '__main__':
    run_tool(main, build_parser())
