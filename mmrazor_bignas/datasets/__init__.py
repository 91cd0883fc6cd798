"""Data sets and splits that mmcls lacks."""

from mmrazor_bignas.datasets.digits import Digits
from mmrazor_bignas.datasets.splits import StratifiedSplit, split_indices

__all__ = ['Digits', 'StratifiedSplit', 'split_indices']
