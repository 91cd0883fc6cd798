"""Search strategies, constraints and history. No torch."""

from mmrazor_bignas.search.coarse_to_fine import CoarseToFine
from mmrazor_bignas.search.constraints import COST_NAMES, Constraints
from mmrazor_bignas.search.evolution import Evolution
from mmrazor_bignas.search.history import BEFORE, History, read_history, read_known
from mmrazor_bignas.search.nsga2 import NSGA2
from mmrazor_bignas.search.pareto import pareto_front
from mmrazor_bignas.search.random_search import RandomSearch
from mmrazor_bignas.search.screening import Screening
from mmrazor_bignas.search.strategy import Strategy

__all__ = [
    'BEFORE',
    'COST_NAMES',
    'NSGA2',
    'CoarseToFine',
    'Constraints',
    'Evolution',
    'History',
    'RandomSearch',
    'Screening',
    'Strategy',
    'pareto_front',
    'read_history',
    'read_known',
]
