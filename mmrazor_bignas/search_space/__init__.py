"""What can be chosen, what was chosen, what it means and what it costs. No torch."""

from mmrazor_bignas.search_space.cost_table import CostTable
from mmrazor_bignas.search_space.estimator import CONVENTION, Cost, estimate, extreme_subnets
from mmrazor_bignas.search_space.latency_table import MEASURED_ON, LatencyTable
from mmrazor_bignas.search_space.layers import HeadSpec, Layer, distinct_layers, network_layers
from mmrazor_bignas.search_space.net_spec import BlockSpec, ConvSpec, NetSpec, envelope, make_divisible, resolve
from mmrazor_bignas.search_space.space import Gene, SearchSpace, Stage
from mmrazor_bignas.search_space.subnet import ROWS, SubnetSpec

__all__ = [
    'CONVENTION',
    'MEASURED_ON',
    'ROWS',
    'BlockSpec',
    'ConvSpec',
    'Cost',
    'CostTable',
    'Gene',
    'HeadSpec',
    'LatencyTable',
    'Layer',
    'NetSpec',
    'SearchSpace',
    'Stage',
    'SubnetSpec',
    'distinct_layers',
    'envelope',
    'estimate',
    'extreme_subnets',
    'make_divisible',
    'network_layers',
    'resolve',
]
