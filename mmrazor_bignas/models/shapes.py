"""Networks whose weights have shapes and no values yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, get_ident

import torch
from torch import nn

from mmrazor_bignas.models.dynamic_layers import DynamicConv2d, DynamicLinear

LAYERS = (DynamicConv2d, DynamicLinear)
_lock = RLock()


@contextmanager
def weights_as_shapes() -> Iterator[None]:
    """Within, this thread's new convolutions and linear layers have their weights on torch's meta device.

    Drawing weights takes longer than all else about building a network, and draws from the global generator. Within
    ``torch.device('meta')`` every call of torch goes through Python, and buffers would lose their values.
    """
    with _lock:
        thread = get_ident()
        initial = {layer: layer.reset_parameters for layer in LAYERS}

        def reset_parameters(layer: nn.Module) -> None:
            if get_ident() != thread:
                initial[type(layer)](layer)
                return
            for name, weight in layer.named_parameters(recurse=False):
                setattr(layer, name, nn.Parameter(torch.empty_like(weight, device='meta')))

        for layer in LAYERS:
            layer.reset_parameters = reset_parameters
        try:
            yield
        finally:
            for layer, method in initial.items():
                layer.reset_parameters = method
