"""Optimizer wrappers, their groups of parameters and schedules that mmengine lacks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, ExponentialLR, LinearLR
from mmengine.optim import OptimWrapper as MMEngineOptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from mmrazor_bignas.engine.precision import autocast
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, PARAM_SCHEDULERS


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(MMEngineOptimWrapper):
    """mmengine's, which tells the norm of a step's gradients without waiting for a GPU.

    Attributes:
        grad_norm: L2 norm over all parameters of the gradients that the last :meth:`update_params` stepped with, summed
            over subnets and ranks, before clipping (scalar). None where it did not step, with gradient accumulation.
        skips_overflows: Whether a step whose gradients are no finite numbers is left out.
    """

    grad_norm: Tensor | None = None
    skips_overflows = False

    def update_params(self, loss: Tensor, **kwargs) -> None:
        self.grad_norm = None
        super().update_params(loss, **kwargs)

    def step(self, **kwargs) -> None:
        self.grad_norm = gradient_norm(self.optimizer)
        super().step(**kwargs)

    def _clip_grad(self) -> None:
        # mmengine's asks for the norm at once.
        if gradients := [p for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]:
            self.clip_func(gradients, **self.clip_grad_kwargs)


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """The L2 norm of all gradients together (scalar)."""
    gradients = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
    return nn.utils.get_total_norm(gradients, foreach=True)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast, on any device; parameters, gradients and losses stay float32.

    mmengine's AmpOptimWrapper asserts a GPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(model):
            yield


@OPTIM_WRAPPERS.register_module()
class Float16OptimWrapper(OptimWrapper):
    """Forward passes under float16 autocast; losses, parameters and gradients stay float32, losses are scaled.

    A step whose gradients overflow is left out, and the scale halved. Meant for GPUs; mmengine's AmpOptimWrapper
    asserts one.

    Args:
        optimizer: The optimizer; a fused one need not wait to hear of an overflow.
        init_scale: The scale that training begins with.
        **kwargs: Of OptimWrapper.
    """

    skips_overflows = True

    def __init__(self, optimizer: torch.optim.Optimizer, init_scale: float = 2.0**16, **kwargs) -> None:
        super().__init__(optimizer, **kwargs)
        device = optimizer.param_groups[0]['params'][0].device.type
        self.loss_scaler = torch.amp.GradScaler(device, init_scale=init_scale)

    def backward(self, loss: Tensor, **kwargs) -> None:
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs) -> None:
        self.loss_scaler.unscale_(self.optimizer)
        self.grad_norm = gradient_norm(self.optimizer)
        if self.clip_grad_kwargs:
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()

    def state_dict(self) -> dict:
        return {**super().state_dict(), 'loss_scaler': self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        state_dict = dict(state_dict)
        if scale := state_dict.pop('loss_scaler', None):  # absent where training began in another format
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(model, dtype=torch.float16):
            yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with one group for all parameters of the same settings.

    mmengine makes a group for every parameter: the optimizer then updates them, and a schedule sets their rates, one by
    one. A fused SGD is also made to accept weights whose first gradient comes late: those of a shortcut convolution,
    say, that no subnet before had.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        wrapper = super().__call__(model)
        if frozen := sum(not parameter.requires_grad for parameter in model.parameters()):
            print_log(f'{frozen} of {len(list(model.parameters()))} weight tensors are frozen', logger='current')
        wrapper.optimizer.register_step_pre_hook(begin_momentum)
        return wrapper

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:  # only the whole module's
            return
        groups: dict[tuple, dict] = {}
        for one in params:
            settings = {key: value for key, value in one.items() if key != 'params'}
            group = groups.setdefault(tuple(sorted(settings.items())), {'params': [], **settings})
            group['params'] += one['params']
        params[:] = groups.values()


def begin_momentum(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    """Begin the momentum of weights that get their first gradient at 0, as torch's SGD that is not fused does.

    torch's fused one takes it that either all weights of a step have a momentum or none, and raises otherwise.
    """
    for group in optimizer.param_groups:
        if group.get('fused') and group.get('momentum'):
            for weight in group['params']:
                if weight.grad is not None and optimizer.state[weight].get('momentum_buffer') is None:
                    optimizer.state[weight]['momentum_buffer'] = torch.zeros_like(weight)


@PARAM_SCHEDULERS.register_module()
class LinearWarmupLR(LinearLR):
    """Linear from ``start_factor`` in the first step to the whole learning rate in step ``end``.

    mmengine's LinearLR is there one step early, in step ``end - 1``.

    Args:
        optimizer: The optimizer or its wrapper.
        end: Length of the warm-up in steps (or epochs, with ``convert_to_iter_based``), from ``begin`` on.
        **kwargs: Of LinearLR.
    """

    def __init__(self, optimizer: Optimizer | MMEngineOptimWrapper, *, end: int, **kwargs) -> None:
        super().__init__(optimizer, end=end + 1, **kwargs)


@PARAM_SCHEDULERS.register_module()
class ExponentialDecayLR(ExponentialLR):
    """Exponential decay with a constant ending (BigNAS, arXiv:2003.11142, section 3.1), in stairs.

    After k steps the learning rate is the initial one times ``max(gamma ** floor(k / period), floor)``; it may be
    combined with a warm-up.

    Args:
        optimizer: The optimizer or its wrapper.
        gamma: What every period multiplies the learning rate by, above 0 and at most 1.
        period: Length of a stair in steps (or epochs, with ``convert_to_iter_based``); need not be whole.
        floor: Share of the initial learning rate at which it is held, at least 0 and below 1.
        **kwargs: Of ExponentialLR.

    Raises:
        InputError: A number is out of its range.
    """

    def __init__(
        self, optimizer: Optimizer | MMEngineOptimWrapper, *, gamma: float, period: float, floor: float = 0.0, **kwargs
    ) -> None:
        if not (0 < gamma <= 1 and period > 0 and 0 <= floor < 1):
            raise InputError(
                f'ExponentialDecayLR: gamma is {gamma!r}, period {period!r}, floor {floor!r}; expected gamma in '
                '(0, 1], a positive period and floor in [0, 1)'
            )
        self.period, self.floor = period, floor
        super().__init__(optimizer, gamma=gamma, **kwargs)

    @classmethod
    def build_iter_from_epoch(cls, *args, period: float, epoch_length: int | None = None, **kwargs):
        """The same with its epochs converted to steps."""
        return super().build_iter_from_epoch(*args, period=period * epoch_length, epoch_length=epoch_length, **kwargs)

    def factor(self, step: int) -> float:
        """The share of the initial learning rate after so many steps."""
        return max(self.gamma ** math.floor(step / self.period), self.floor)

    def _get_value(self) -> list[float]:
        change = self.factor(self.last_step) / self.factor(self.last_step - 1) if self.last_step else 1.0
        return [group[self.param_name] * change for group in self.optimizer.param_groups]
