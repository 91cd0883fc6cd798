"""Draw what searches evaluated: score against FLOPs, with the Pareto front of each; a whole report on request.

bignas report search HISTORY... --out pareto.png --report report.html
"""

import argparse
import json
from pathlib import Path

from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.plots import save_figure
from mmrazor_bignas.engine.report import write_report
from mmrazor_bignas.engine.search_plots import draw_choices, draw_pareto, draw_scores
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import COST_NAMES, read_history


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(
        'Draw search histories, to compare several.',
        'work_dirs/demo/search_history.jsonl --out pareto.png --report report.html',
    )
    parser.add_argument('history', nargs='+', help='search_history.jsonl of a search; its folder names the run')
    parser.add_argument('--out', default='pareto.png', help='the image to write')
    parser.add_argument(
        '--objectives',
        nargs='+',
        choices=['score', *COST_NAMES],
        default=['score', 'flops'],
        help='what the Pareto fronts are over; the first cost is that of the image',
    )
    parser.add_argument('--scores', help='an image of the scores by generation to write')
    parser.add_argument('--choices', help='an image of the choices by generation to write')
    parser.add_argument('--report', help='an HTML file with all of this to write; it opens offline')
    return parser


def run_names(paths: list[str]) -> list[str]:
    """The name of every history's folder; a further one of the same name is numbered."""
    names: list[str] = []
    for path in paths:
        folder = Path(path).resolve().parent.name or 'search'
        numbered = (f'{folder} ({i})' for i in range(2, len(paths) + 2))
        names.append(folder if folder not in names else next(name for name in numbered if name not in names))
    return names


def score_of(path: str) -> str:
    """The name of a history's score, where its first line has one."""
    with open(path, 'rb') as file:
        name = json.loads(file.readline()).get('score')
    return name if isinstance(name, str) else 'score'


def main(args: argparse.Namespace) -> None:
    histories = {name: read_history(path) for name, path in zip(run_names(args.history), args.history, strict=True)}
    for path, records in zip(args.history, histories.values(), strict=True):
        if not records:
            raise InputError(f'{path}: no candidate was evaluated yet')
    scores = {score_of(path) for path in args.history}
    score_name = scores.pop() if len(scores) == 1 else 'score'

    costs = [name for name in args.objectives if name != 'score']
    if 'score' not in args.objectives or not costs:
        raise InputError(f'--objectives {" ".join(args.objectives)}: expected score and one or more costs')
    save_figure(draw_pareto(histories, score_name, costs[0]), args.out)
    if args.scores:
        save_figure(draw_scores(histories, score_name), args.scores)
    if args.choices:
        save_figure(draw_choices(histories), args.choices)
    if args.report:
        write_report(args.report, histories, args.objectives, score_name)
    for path in filter(None, (args.out, args.scores, args.choices, args.report)):
        print(f'{path}: {sum(map(len, histories.values()))} subnets')
