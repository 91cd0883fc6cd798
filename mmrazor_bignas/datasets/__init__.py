"""Data sets, splits and transforms that mmcls lacks."""

from mmrazor_bignas.datasets.auto_augment import AutoAugment
from mmrazor_bignas.datasets.class_folders import ClassFolders
from mmrazor_bignas.datasets.digits import Digits
from mmrazor_bignas.datasets.fashion_mnist import FashionMNIST
from mmrazor_bignas.datasets.resizing import RandomResizedCrop, ResizeEdge
from mmrazor_bignas.datasets.splits import StratifiedSplit, split_indices

__all__ = [
    'AutoAugment',
    'ClassFolders',
    'Digits',
    'FashionMNIST',
    'RandomResizedCrop',
    'ResizeEdge',
    'StratifiedSplit',
    'split_indices',
]
