"""An optimizer wrapper and a schedule that mmengine lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.optim import LinearLR, OptimWrapper
from torch import nn
from torch.optim import Optimizer

from mmrazor_bignas.engine.precision import autocast
from mmrazor_bignas.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast, on any device; parameters, gradients and losses stay float32.

    mmengine's AmpOptimWrapper asserts a GPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(model):
            yield


@PARAM_SCHEDULERS.register_module()
class LinearWarmupLR(LinearLR):
    """Linear from ``start_factor`` in the first step to the whole learning rate in step ``end``.

    mmengine's LinearLR is there one step early, in step ``end - 1``.

    Args:
        optimizer: The optimizer or its wrapper.
        end: Length of the warm-up in steps (or epochs, with ``convert_to_iter_based``), from ``begin`` on.
        **kwargs: Of LinearLR.
    """

    def __init__(self, optimizer: Optimizer | OptimWrapper, *, end: int, **kwargs) -> None:
        super().__init__(optimizer, end=end + 1, **kwargs)
