"""BigNAS: the only train step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmrazor_bignas.registry import MODELS, TASK_UTILS
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec


@MODELS.register_module()
class BigNAS(BaseModel):
    """Training of a supernet whose subnets need no retraining (BigNAS, arXiv:2003.11142, section 3).

    Args:
        architecture: Config of a supernet with ``search_space``, ``data_preprocessor``, ``head.loss_of_logits``,
            ``resize(images, subnet)`` and ``forward(images, subnet=, drop=)``. It owns the data preprocessor; the
            algorithm borrows it.
        sampler: Config of the sampler, see :mod:`mmrazor_bignas.algorithms.samplers`.
        distillation: Config of the loss between student and teacher logits, see
            :mod:`mmrazor_bignas.algorithms.losses`.
        compile: Whether ``torch.compile`` makes kernels of its own for the largest and the smallest subnet, the same
            at every step; random subnets run as they are, since every new one would be compiled anew. Takes minutes at
            the first step; results are equal up to rounding.
    """

    def __init__(self, architecture: dict, sampler: dict, distillation: dict, compile: bool = False) -> None:
        architecture = MODELS.build(architecture)
        super().__init__(data_preprocessor=architecture.data_preprocessor)
        self.architecture = architecture
        self.sampler = TASK_UTILS.build(sampler)
        self.distillation = MODELS.build(distillation)
        self._compiled = compiled_runs() if compile else None

    @property
    def search_space(self) -> SearchSpace:
        return self.architecture.search_space

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor', **kwargs):
        """Run the architecture: see its ``forward``."""
        subnet, space = kwargs.get('subnet'), self.search_space
        if self._compiled and mode == 'tensor' and subnet in (space.largest, space.smallest):
            return self._compiled(self.architecture, inputs, **kwargs)
        return self.architecture(inputs, data_samples, mode, **kwargs)

    def train_step(
        self, data: dict, optim_wrapper: OptimWrapper, forward: Callable[..., Tensor] | None = None
    ) -> dict[str, Tensor]:
        """One optimizer step on the summed gradients of the sampled subnets.

        Args:
            data: A batch from the data loader.
            optim_wrapper: Steps once, after the last subnet; with gradient accumulation every few calls.
            forward: Runs a subnet; a distributed wrapper passes itself, whose ``no_sync`` then holds back the exchange
                of gradients until the last subnet.

        Returns:
            The loss of every subnet, detached, as ``<name>/loss``, and their sum as ``loss``.
        """
        forward = forward or self
        data = self.data_preprocessor(data, training=True)
        subnets = self.sampler(self.search_space, current_step())
        last, teacher, losses = list(subnets)[-1], None, {}
        images: dict[int, Tensor] = {}  # by resolution, which several subnets may share
        for name, subnet in subnets.items():
            if subnet.resolution not in images:
                images[subnet.resolution] = self.architecture.resize(data['inputs'], subnet)
            with optim_wrapper.optim_context(forward), gradient_exchange(forward, name == last):
                logits = forward(images[subnet.resolution], subnet=subnet, drop=teacher is None)
                if teacher is None:
                    loss = self.architecture.head.loss_of_logits(logits, data['data_samples'])
                    teacher = logits.detach()
                else:
                    loss = self.distillation(logits, teacher)
            if name == last:
                optim_wrapper.update_params(loss)
            else:
                add_gradient(optim_wrapper, loss)
            losses[f'{name}/loss'] = loss.detach()
        return {'loss': sum(losses.values()), **losses}


def run_subnet(architecture: nn.Module, images: Tensor, subnet: SubnetSpec, drop: bool = True) -> Tensor:
    """What is compiled, a specialised copy for every subnet."""
    return architecture(images, subnet=subnet, drop=drop)


def compiled_runs() -> Callable[..., Tensor]:
    """:func:`run_subnet`, compiled for every subnet and batch size that it meets; dropout draws as it does without."""
    return torch.compile(run_subnet, fullgraph=True, dynamic=False, options={'fallback_random': True})


def current_step() -> int:
    """The Runner's iteration, 0 outside a Runner."""
    return MessageHub.get_current_instance().get_info('iter', 0)


def gradient_exchange(forward: Callable, wanted: bool) -> AbstractContextManager:
    """Hold back a distributed wrapper's exchange of gradients unless it is wanted."""
    return nullcontext() if wanted or not hasattr(forward, 'no_sync') else forward.no_sync()


def add_gradient(optim_wrapper: OptimWrapper, loss: Tensor) -> None:
    """Backward that the wrapper does not count as an iteration: it counts train steps, not subnets."""
    loss = optim_wrapper.scale_loss(loss)
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    (scaler.scale(loss) if scaler else loss).backward()
