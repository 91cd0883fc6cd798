"""Subnets whose FLOPs and params are counted per second: looked up one by one, many at once, and by the plain count.

python benchmarks/cost_table.py
"""

import time
from random import Random

import numpy as np
from mmengine.config import Config

from mmrazor_bignas.search_space import CostTable, SearchSpace, estimate, resolve
from mmrazor_bignas.search_space.lookup import CONFIG_ROOT

SUBNETS = 2000
REPEATS = 500  # of them, for the vectorised count
ROUNDS = 5


def main() -> None:
    cfg = Config.fromfile(CONFIG_ROOT / '_base_/nas_backbones/attentive_mobilenet_v3_supernet.py')
    space = SearchSpace.from_dict(cfg.algorithm.architecture.backbone.search_space)
    rng = Random(0)
    subnets = [space.sample(rng) for _ in range(SUBNETS)]
    values = np.array([space.values(subnet) for subnet in subnets])
    start = time.perf_counter()
    table = CostTable(space, 1000)
    print(f'table built in {time.perf_counter() - start:.2f} s')
    many = np.tile(values, (REPEATS, 1))
    ways = {
        'estimate(resolve())': (lambda: [estimate(resolve(space, subnet), 1000) for subnet in subnets], SUBNETS),
        'CostTable()': (lambda: [table(subnet) for subnet in subnets], SUBNETS),
        'CostTable.many()': (lambda: table.many(many), len(many)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (run, count) in ways.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) / count)
    plain = np.median(times['estimate(resolve())'])
    for name, seconds in times.items():
        print(f'{name:20} {1 / np.median(seconds):12,.0f} subnets/s  {plain / np.median(seconds):8.1f} x')
    expected = [[cost.flops, cost.params] for cost in ways['estimate(resolve())'][0]()]
    assert table.many(values).tolist() == expected, 'the counts differ'


if __name__ == '__main__':
    main()
