"""BigNAS on OpenMMLab: train a supernet once, search it, export calibrated subnets."""

from __future__ import annotations

__version__ = '0.1.0'
__all__ = ['Predictor', '__version__', 'get_subnet']


def __getattr__(name: str):
    # Importing the package must not import torch.
    if name == 'get_subnet':
        from mmrazor_bignas.api import get_subnet

        return get_subnet
    if name == 'Predictor':
        from mmrazor_bignas.deployment.predictor import Predictor

        return Predictor
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
