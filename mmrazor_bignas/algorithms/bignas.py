"""BigNAS: the only train step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from mmengine.dist import all_reduce
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.kernels import StepWeights
from mmrazor_bignas.registry import MODELS, TASK_UTILS
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec

REGULARIZE = ('largest', 'all')


@MODELS.register_module()
class BigNAS(BaseModel):
    """Training of a supernet whose subnets need no retraining (BigNAS, arXiv:2003.11142, section 3).

    Args:
        architecture: Config of a supernet with ``search_space``, ``data_preprocessor``, ``head.loss_of_logits``,
            ``head.cross_entropy``, ``head.labels_of``, ``resize(images, subnet)`` and
            ``forward(images, subnet=, drop=)``. It owns the data preprocessor; the algorithm borrows it.
        sampler: Config of the sampler, see :mod:`mmrazor_bignas.algorithms.samplers`.
        distillation: Config of the loss between a subnet's logits and those of the teacher, the first subnet of the
            step (see :mod:`mmrazor_bignas.algorithms.losses`); None trains every subnet on the labels.
        regularize: Where dropout and drop path act: in the 'largest' subnet alone (section 3.1) or, to compare, in
            'all'. Weight decay is the optimizer's: its one step per batch decays every weight once, as a training of
            the largest subnet alone would.
        step_each_subnet: Whether the optimizer steps after every subnet instead of once on the summed gradients: what
            MMRazor's BigNAS does, to compare. The teacher's logits are those before its own step. A tensor then decays
            once per subnet that uses a part of it, and ranks exchange gradients once per subnet.
        compile: Whether ``torch.compile`` makes kernels of its own for the largest and the smallest subnet, the same
            at every step; random subnets run as they are, since every new one would be compiled anew. Takes minutes at
            the first step; results are equal up to rounding.

    Raises:
        InputError: ``regularize`` is unknown.
    """

    def __init__(
        self,
        architecture: dict,
        sampler: dict,
        distillation: dict | None,
        regularize: str = 'largest',
        step_each_subnet: bool = False,
        compile: bool = False,
    ) -> None:
        if regularize not in REGULARIZE:
            raise InputError(f'algorithm.regularize is {regularize!r}; expected one of {list(REGULARIZE)}')
        architecture = MODELS.build(architecture)
        super().__init__(data_preprocessor=architecture.data_preprocessor)
        self.architecture = architecture
        self.sampler = TASK_UTILS.build(sampler)
        self.distillation = MODELS.build(distillation) if distillation else None
        self.regularize, self.step_each_subnet = regularize, step_each_subnet
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
    ) -> dict[str, Tensor | dict[str, SubnetSpec]]:
        """One optimizer step on the summed gradients of the sampled subnets.

        Args:
            data: A batch from the data loader.
            optim_wrapper: Steps once, after the last subnet; with gradient accumulation every few calls.
            forward: Runs a subnet; a distributed wrapper passes itself, whose ``no_sync`` then holds back the exchange
                of gradients until the last subnet.

        Returns:
            The loss of every subnet, detached, as ``<name>/loss``, and their sum as ``loss``; the accuracy on the batch
            in per cent as ``<name>/top1``; what was run as ``subnets``, by name. Nothing waits for a GPU.

        Raises:
            InputError: ``step_each_subnet`` with gradient accumulation.
        """
        if self.step_each_subnet and getattr(optim_wrapper, '_accumulative_counts', 1) > 1:
            raise InputError(
                'optim_wrapper.accumulative_counts adds up gradients over steps, algorithm.step_each_subnet steps '
                'within one; choose one of them'
            )
        forward, space = forward or self, self.search_space
        data = self.data_preprocessor(data, training=True)
        labels = self.architecture.head.labels_of(data['data_samples'])
        images: dict[int, Tensor] = {}  # by resolution, which several subnets may share

        def images_for(subnet: SubnetSpec) -> Tensor:
            if subnet.resolution not in images:
                images[subnet.resolution] = self.architecture.resize(data['inputs'], subnet)
            return images[subnet.resolution]

        def score(candidates: Sequence[SubnetSpec]) -> list[float]:
            with optim_wrapper.optim_context(self):
                return self.scores(candidates, images_for, data['data_samples'])

        weights = StepWeights(self.architecture.parameters())
        with weights.one_pass(exchanged=False):
            subnets = self.sampler(space, current_step(), score)
        last, teacher, losses, logits_of = list(subnets)[-1], None, {}, {}
        for name, subnet in subnets.items():
            step = self.step_each_subnet or name == last
            drop = self.regularize == 'all' or subnet == space.largest
            if self.step_each_subnet:
                weights = StepWeights(self.architecture.parameters())  # they have changed
            exchanged = step and hasattr(forward, 'no_sync')  # by the wrapper, each as soon as it is there
            with optim_wrapper.optim_context(forward), gradient_exchange(forward, step), weights.one_pass(exchanged):
                logits = forward(images_for(subnet), subnet=subnet, drop=drop)
                if teacher is None or self.distillation is None:
                    loss = self.architecture.head.loss_of_logits(logits, data['data_samples'])
                else:
                    loss = self.distillation(logits, teacher)
                teacher = logits.detach() if teacher is None else teacher
            if not exchanged:
                weights.add_gradients_of(loss)
            if step:
                optim_wrapper.update_params(loss)
            else:
                add_gradient(optim_wrapper, loss)
            losses[f'{name}/loss'], logits_of[name] = loss.detach(), logits.detach()
        # Of all subnets together, since a GPU begins an operation no sooner for its being small.
        right = torch.stack(list(logits_of.values())).argmax(2) == labels
        top1 = zip(logits_of, (100 * right.float().mean(1)).unbind(), strict=True)
        top1 = {f'{name}/top1': value for name, value in top1}
        return {'loss': torch.stack(list(losses.values())).sum(), **losses, **top1, 'subnets': subnets}

    @torch.no_grad()
    def scores(
        self, subnets: Sequence[SubnetSpec], images_for: Callable[[SubnetSpec], Tensor], data_samples: list
    ) -> list[float]:
        """Minus the cross entropy of each subnet on a batch: the mean over all ranks' batches, on every rank.

        As in training batch normalisation takes the batch's statistics; dropout and drop path are off. Runs beside a
        distributed wrapper, which expects a backward pass after its forward.
        """
        losses = [
            self.architecture.head.cross_entropy(
                self.architecture(images_for(subnet), subnet=subnet, drop=False), data_samples
            )
            for subnet in subnets
        ]
        scores = -torch.stack(losses)
        all_reduce(scores, 'mean')  # in place
        return scores.tolist()


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
