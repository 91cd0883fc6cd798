"""Exact FLOPs and params of a subnet, from its spec alone.

bignas flops CONFIG [--mutable-cfg FILE.yaml] [--size HEIGHT [WIDTH]] [--out-indices STAGE ...] [--json]
"""

import argparse
import json

from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_cfg_options, load_config
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import CONVENTION, SearchSpace, estimate, resolve
from mmrazor_bignas.search_space.lookup import find_subnet


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'Exact FLOPs and params of a subnet.', 'attentive_mobilenet_subnet_8xb256_in1k.py --mutable-cfg attentivenas-a0'
    )
    parser.add_argument('config', help='config of a subnet, training or search')
    parser.add_argument(
        '--mutable-cfg',
        help="the subnet: a YAML file, 'min', 'max' or a published name; default: the config's, else the largest",
    )
    parser.add_argument(
        '--size',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help="height and width of images that are not resized, or one number; default: the subnet's resolution",
    )
    parser.add_argument(
        '--out-indices',
        nargs='+',
        type=int,
        metavar='STAGE',
        help='count the backbone alone, as under a detector, and print the channels and strides of these stages',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object as the last line')
    add_cfg_options(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    algorithm = load_config(args.config, args.cfg_options).algorithm
    space = SearchSpace.of_backbone(algorithm.architecture.backbone)
    name = args.mutable_cfg or algorithm.get('mutable_cfg', 'max')
    subnet = find_subnet(name, space)
    if args.size and (len(args.size) > 2 or min(args.size) < 1):
        raise InputError(f'--size is {args.size}; expected height and width in pixels, or one number for both')
    size = (args.size[0], args.size[-1]) if args.size else (subnet.resolution, subnet.resolution)
    more = {'size': list(size)} if args.size else {}
    if args.out_indices is None:
        cost = estimate(resolve(space, subnet), algorithm.architecture.head.num_classes, size)
    else:
        from mmrazor_bignas.models import AttentiveMobileNetV3  # torch takes its time

        backbone = AttentiveMobileNetV3(space, subnet, out_indices=args.out_indices)
        cost = backbone.cost(size)
        more |= {'channels': backbone.feature_channels, 'strides': backbone.feature_strides}
    print(f'subnet:     {name}')
    print(f'resolution: {subnet.resolution}')
    if args.size:
        print(f'counted at: {size[0]} x {size[1]}, not resized')
    if args.out_indices is not None:
        print(f'channels:   {list(more["channels"])} of the stages {args.out_indices}, strides {list(more["strides"])}')
    print(f'FLOPs:      {cost.flops:,} ({cost.flops / 1e6:,.2f} M)')
    print(f'params:     {cost.params:,} ({cost.params / 1e6:,.2f} M)')
    print(CONVENTION)
    if args.json:
        print(json.dumps({'flops': cost.flops, 'params': cost.params, 'resolution': subnet.resolution, **more}))
