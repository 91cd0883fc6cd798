"""Measure what the layers of a search space take on this machine, and check the table against whole subnets.

bignas latency CONFIG --out latency.json [--device cpu|cuda] [--batch-size 1] [--threads N]
    [--dtype float32|bfloat16]
bignas latency CONFIG --check latency.json
"""

import argparse
from pathlib import Path
from random import Random
from statistics import median

import torch

from mmrazor_bignas.engine.latency import (
    DEVICES,
    DTYPES,
    Settings,
    check_machine,
    measure_subnets,
    measure_table,
    spearman,
)
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_cfg_options, load_config
from mmrazor_bignas.engine.storage import probe, write_atomically
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import SearchableImageClassifier
from mmrazor_bignas.search_space import CostTable, LatencyTable

TRUSTED = 0.95  # Spearman's correlation, from which on a table orders subnets well


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser('Measure a latency table, and check it.', 'digits_search.py --out latency.json --threads 1')
    parser.add_argument('config', help='config of a subnet, training or search')
    parser.add_argument('--out', default='latency.json', help='the table to write (default latency.json)')
    parser.add_argument('--check', metavar='TABLE', help='measure no table: check this one, with the settings in it')
    parser.add_argument('--device', choices=DEVICES, default='cpu', help='where the layers run (default cpu)')
    parser.add_argument('--batch-size', type=int, default=1, help='images in a forward pass (default 1)')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help="of torch's on the CPU")
    parser.add_argument('--dtype', choices=DTYPES, default='float32', help='bfloat16 is by autocast')
    parser.add_argument('--subnets', type=int, default=20, help='random subnets to check it by (default 20, 0: none)')
    add_cfg_options(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    algorithm = load_config(args.config, args.cfg_options).algorithm
    if args.subnets < 0 or args.subnets == 1:
        raise InputError(f'--subnets is {args.subnets}; expected 2 or more, or 0 for none')
    architecture = {**algorithm.architecture}
    architecture.pop('type', None)
    classifier = SearchableImageClassifier(**architecture)
    space, num_classes = classifier.search_space, classifier.head.num_classes
    if args.check:
        table = LatencyTable.load(args.check)
        table.check_space(space, num_classes)
        check_machine(table, 'check it there')
        settings = Settings.of(table)
    else:
        probe(Path(args.out).parent, f'--out {args.out}')
        settings = Settings(args.device, args.batch_size, args.threads, args.dtype)
        table = measure_table(space, num_classes, settings, args.out)
        content = table.to_json().encode()
        write_atomically(args.out, lambda file: file.write(content))
        print(f'{args.out}: {len(table.milliseconds)} layers')
    print(', '.join(f'{name}: {value}' for name, value in table.measured_on.items()))
    if args.subnets:
        check(table, classifier, settings, args.subnets)


def check(table: LatencyTable, classifier: SearchableImageClassifier, settings: Settings, number: int) -> None:
    """Print what the table says of random subnets, and what they take."""
    rng = Random(0)
    subnets = [classifier.search_space.sample(rng) for _ in range(number)]
    cost = CostTable(classifier.search_space, classifier.head.num_classes, table)
    measured = measure_subnets(classifier, subnets, settings)
    print(f'{"MFLOPs":>10} {"table, ms":>10} {"measured":>10} {"error":>8}')
    errors = []
    for subnet in sorted(subnets, key=measured.get):
        said, took = cost(subnet).latency, measured[subnet]
        errors.append(said / took - 1)
        print(f'{cost(subnet).flops / 1e6:10,.2f} {said:10.3f} {took:10.3f} {errors[-1]:+8.1%}')
    rank = spearman([cost(subnet).latency for subnet in subnets], [measured[subnet] for subnet in subnets])
    print(f'{number} subnets: Spearman {rank:.4f}, median error {median(map(abs, errors)):.1%}')
    if rank < TRUSTED:
        print(f'below {TRUSTED}: was the machine busy? --check {table.source} measures the subnets again')
