"""How a supernet is trained."""

from mmrazor_bignas.algorithms.bignas import BigNAS
from mmrazor_bignas.algorithms.flops_prior import FlopsPrior
from mmrazor_bignas.algorithms.losses import AdaptiveAlphaDistillation, KLDistillation, alpha_divergence
from mmrazor_bignas.algorithms.samplers import BestUpSampler, SandwichSampler, UniformSampler, WorstUpSampler

__all__ = [
    'AdaptiveAlphaDistillation',
    'BestUpSampler',
    'BigNAS',
    'FlopsPrior',
    'KLDistillation',
    'SandwichSampler',
    'UniformSampler',
    'WorstUpSampler',
    'alpha_divergence',
]
