"""Many trainings whose results are compared: run what has no record yet, or write the report of what there is.

bignas study run STUDY.yaml [--hours H] [--jobs N] [--only RUN ...] [--list]
bignas study report STUDY.yaml --records DIR --out FILE.md
bignas study evaluate CONFIG CHECKPOINT SUBNET.yaml ... --out FILE.json [--statistics-of-largest]
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch

from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import add_cfg_options, load_config
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space.lookup import CONFIG_ROOT
from mmrazor_bignas.study.evaluation import evaluate_subnets
from mmrazor_bignas.study.plan import Study
from mmrazor_bignas.study.report import write_report
from mmrazor_bignas.study.running import StudyRunner

# The repository; where the package is installed without one, the folder in which this was started.
ROOT = Path.cwd() if CONFIG_ROOT.parent.name == '.mim' else CONFIG_ROOT.parent


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser('Run a study, or write its report.', 'run configs/studies/fashion_mnist/study.yaml --hours 1')
    commands = parser.add_subparsers(dest='command', required=True)
    run = commands.add_parser('run', help='do the runs that have no record yet; what was interrupted goes on')
    run.add_argument('study', help="the study's YAML file")
    run.add_argument('--work-dir', type=Path, help='of the trainings; default: work_dirs/<name of the study>')
    run.add_argument('--records', type=Path, help='results of finished runs; default: records in the work dir')
    run.add_argument('--jobs', type=int, help='runs side by side; default: one per CPU core, or 1 with a GPU')
    run.add_argument('--hours', type=float, default=float('inf'), help='begin no run after so many hours')
    run.add_argument('--only', nargs='+', default=[], metavar='RUN', help='names of runs')
    run.add_argument('--list', action='store_true', help='print what is left, and end')
    report = commands.add_parser('report', help='write tables and plots of what there is')
    report.add_argument('study', help="the study's YAML file")
    report.add_argument('--records', type=Path, help='default: records in the work dir')
    report.add_argument('--out', type=Path, required=True, help='a Markdown file; plots go beside it')
    evaluate = commands.add_parser('evaluate', help='test subnets of one supernet')
    evaluate.add_argument('config', help='config of a subnet')
    evaluate.add_argument('checkpoint', help="the supernet's")
    evaluate.add_argument('subnets', nargs='+', metavar='SUBNET.yaml')
    evaluate.add_argument('--out', type=Path, required=True, help='write metrics, FLOPs and params to this JSON file')
    evaluate.add_argument(
        '--statistics-of-largest',
        action='store_true',
        help='calibrate the largest subnet alone, and use its statistics',
    )
    add_cfg_options(evaluate)
    return parser


def main(args: argparse.Namespace) -> None:
    if args.command == 'evaluate':
        evaluate(args)
        return
    if args.command == 'run' and not args.hours >= 0:
        raise InputError(f'--hours is {args.hours}; expected 0 or more')
    # Records and commands name files from the repository root, wherever this was started.
    for name in ('study', 'work_dir', 'records', 'out'):
        if getattr(args, name, None) is not None:
            setattr(args, name, Path(os.path.relpath(getattr(args, name), ROOT)))
    os.chdir(ROOT)
    study = Study(args.study)
    work_dir = getattr(args, 'work_dir', None) or Path('work_dirs') / study.name
    records = args.records or work_dir / 'records'
    if args.command == 'report':
        write_report(study, records, args.out)
        print(args.out)
        return
    cores = len(os.sched_getaffinity(0))
    jobs = args.jobs if args.jobs is not None else 1 if torch.cuda.is_available() else cores
    if jobs < 1:
        raise InputError(f'--jobs is {jobs}; expected 1 or more')
    runner = StudyRunner(study, work_dir, records, ROOT, jobs, max(1, cores // jobs))
    if args.list:
        for run in runner.left(args.only):
            print(run.name)
        return
    runner.run(args.only, time.monotonic() + 3600 * args.hours)
    left = len(runner.left())
    print(f'{left} runs are left' if left else 'all runs are done: bignas study report --help')


def evaluate(args: argparse.Namespace) -> None:
    """Test subnets, print what they score, and write it to a file."""
    cfg = load_config(args.config, args.cfg_options)
    if 'test_cfg' not in cfg:
        raise InputError(f'{args.config}: has no test_cfg; evaluate needs the config of a subnet')
    subnets = {Path(path).stem: path for path in args.subnets}
    if len(subnets) < len(args.subnets):
        raise InputError(f'{" ".join(args.subnets)}: two files have one name, by which results are told apart')
    found = evaluate_subnets(cfg, args.checkpoint, subnets, args.statistics_of_largest)
    write_atomically(args.out, lambda file: file.write(json.dumps(found, indent=1).encode()))
    for name, result in found.items():
        scores = '  '.join(f'{key} {value:.4f}' for key, value in result.items() if key not in ('flops', 'params'))
        print(f'{name:24}{result["flops"]:12,} FLOPs {result["params"]:12,} params  {scores}')
