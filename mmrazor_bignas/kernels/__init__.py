"""The operations that a network is made of, faster than one after the other by torch: each with its plain twin."""

from mmrazor_bignas.kernels.batch_norm import batch_norm_act
from mmrazor_bignas.kernels.channel_gate import squeeze_excite
from mmrazor_bignas.kernels.depthwise import depthwise_conv2d, depthwise_conv2d_moments
from mmrazor_bignas.kernels.pointwise import pointwise_conv2d
from mmrazor_bignas.kernels.slicing import StepWeights, slice_param, slices
from mmrazor_bignas.kernels.way import chosen_way, is_fused, memory_format

__all__ = [
    'StepWeights',
    'batch_norm_act',
    'chosen_way',
    'depthwise_conv2d',
    'depthwise_conv2d_moments',
    'is_fused',
    'memory_format',
    'pointwise_conv2d',
    'slice_param',
    'slices',
    'squeeze_excite',
]
