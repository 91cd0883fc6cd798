"""Search strategies, constraints and history. No torch."""

from mmrazor_bignas.search.constraints import Constraints
from mmrazor_bignas.search.evolution import Evolution
from mmrazor_bignas.search.history import History, read_history

__all__ = ['Constraints', 'Evolution', 'History', 'read_history']
