"""How a supernet is trained."""

from mmrazor_bignas.algorithms.bignas import BigNAS
from mmrazor_bignas.algorithms.losses import AdaptiveAlphaDistillation, KLDistillation, alpha_divergence
from mmrazor_bignas.algorithms.samplers import SandwichSampler

__all__ = ['AdaptiveAlphaDistillation', 'BigNAS', 'KLDistillation', 'SandwichSampler', 'alpha_divergence']
