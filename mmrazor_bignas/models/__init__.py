"""The network: dynamic layers, blocks, backbone, classifier, export."""

from mmrazor_bignas.models.attentive_mobilenet_v3 import AttentiveMobileNetV3
from mmrazor_bignas.models.classifier import DynamicLinearClsHead, SearchableImageClassifier, Subnet
from mmrazor_bignas.models.dynamic_layers import DynamicBatchNorm2d, DynamicConv2d, DynamicLinear
from mmrazor_bignas.models.export import extract_subnet, inherit_weights
from mmrazor_bignas.models.folding import fold_batch_norm
from mmrazor_bignas.models.label_loss import LabelSmoothCrossEntropy
from mmrazor_bignas.models.single_layer import SingleLayer

__all__ = [
    'AttentiveMobileNetV3',
    'DynamicBatchNorm2d',
    'DynamicConv2d',
    'DynamicLinear',
    'DynamicLinearClsHead',
    'LabelSmoothCrossEntropy',
    'SearchableImageClassifier',
    'SingleLayer',
    'Subnet',
    'extract_subnet',
    'fold_batch_norm',
    'inherit_weights',
]
