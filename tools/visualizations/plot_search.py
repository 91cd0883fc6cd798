"""Draw what a search evaluated: score against FLOPs, with the Pareto front.

python tools/visualizations/plot_search.py HISTORY --out pareto.png
"""

import argparse

from mmrazor_bignas.engine.main import run_tool
from mmrazor_bignas.engine.plots import load_pyplot, save_figure
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import read_history


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='plot_search.py', description='Draw a search history.')
    parser.add_argument('history', help='search_history.jsonl of a search')
    parser.add_argument('--out', default='pareto.png', help='the image to write')
    return parser


def pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, score) that no other beats in both, by ascending cost."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def main(args: argparse.Namespace) -> None:
    records = list(read_history(args.history).values())
    if not records:
        raise InputError(f'{args.history}: no candidate was evaluated yet')
    pyplot = load_pyplot()

    points = [(record['flops'] / 1e6, record['score']) for record in records]
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout='constrained')
    dots = axes.scatter(*zip(*points, strict=True), c=[record['generation'] + 1 for record in records], s=18)
    axes.step(*zip(*pareto_front(points), strict=True), where='post', color='tab:red', label='Pareto front')
    axes.set_xlabel('FLOPs (multiply-adds, millions)')
    axes.set_ylabel('score on the search split')
    axes.set_title(f'{len(points)} subnets evaluated')
    axes.legend(loc='lower right')
    axes.grid(alpha=0.3)
    figure.colorbar(dots, label='generation')
    save_figure(figure, args.out)
    print(f'{args.out}: {len(points)} subnets')


if __name__ == '__main__':
    run_tool(main, build_parser())
