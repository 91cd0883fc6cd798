"""Evaluate one subnet: extract, calibrate, measure. The supernet is only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.calibration import calibrate_batch_norm
from mmrazor_bignas.engine.precision import autocast
from mmrazor_bignas.engine.progress import track
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import SearchableImageClassifier, extract_subnet, fold_batch_norm
from mmrazor_bignas.search_space import SubnetSpec


def extract_calibrated(
    supernet: SearchableImageClassifier, subnet: SubnetSpec, calibration: FixedBatches, amp: bool = False
) -> SearchableImageClassifier:
    """The static network of a subnet as it is scored, exported and deployed."""
    static = extract_subnet(supernet, subnet)
    calibrate_batch_norm(static, calibration, amp)
    return static


@torch.no_grad()
def measure(
    model: SearchableImageClassifier, batches: FixedBatches, evaluator: Evaluator, amp: bool = False
) -> dict[str, float]:
    """The evaluator's metrics of a static network, as ``prefix/name``; with ``amp``, under bfloat16 autocast.

    Where ranks share the batches, every rank gets the metrics of all images, each counted once. Where the
    batches skip images that cannot be read, ``unreadable`` is how many. On a CPU in float32 the network runs with its
    batch normalisation folded into the convolutions, which changes its outputs by rounding alone.

    Metrics are computed on the CPU: each batch's scores are fetched as one, and evaluated while a GPU is at work on the
    next batch. Data samples stay where they are, and as they are.
    """
    model.eval()
    # bfloat16, and TF32 in a GPU's convolutions, would round other weights.
    if not amp and next(model.parameters()).device.type == 'cpu':
        model = fold_batch_norm(model)
    for metric in evaluator.metrics:
        metric.results.clear()  # of a model whose evaluation failed half-way
    evaluator.dataset_meta = getattr(batches.dataset, 'metainfo', None)
    for (scores, batch), _ in pairwise(chain(_scores(model, batches, amp), [None])):  # the next batch is under way
        evaluator.process(data_samples=with_predictions(batch['data_samples'], scores()), data_batch=batch)
    left_out = {'unreadable': float(batches.count_unreadable())} if batches.skip_unreadable else {}
    measured = {}
    for metric in evaluator.metrics:
        # mmengine's own gathering cuts every rank to the shortest share.
        results, metric.results = metric.results, []
        if batches.world_size > 1:
            results = list(chain.from_iterable(all_gather_object(results)))
        try:
            computed = metric.compute_metrics(results)
        except ValueError as error:  # e.g. top-5 of 4 classes
            raise InputError(f'evaluator: {error}') from error
        for name, value in computed.items():
            measured[f'{metric.prefix}/{name}' if metric.prefix else name] = float(value)
    return {**measured, **left_out}


def _scores(
    model: SearchableImageClassifier, batches: FixedBatches, amp: bool
) -> Iterator[tuple[Callable[[], Tensor], dict]]:
    """What gives a batch's scores, (N, classes) on the CPU in float32, and the batch."""
    for batch in track(batches, 'evaluate', len(batches)):
        images = model.data_preprocessor({'inputs': batch['inputs']})['inputs']  # labels have no business on a GPU
        with autocast(model, amp):
            scores = F.softmax(model(images).float(), dim=1)
        yield fetch(scores), batch


def fetch(tensor: Tensor) -> Callable[[], Tensor]:
    """Begin to copy a tensor to the CPU; what is returned waits until it is there, and gives it."""
    if not tensor.is_cuda:
        return lambda: tensor
    copy = tensor.to('cpu', non_blocking=True)  # into pinned memory
    copied = torch.cuda.current_stream(tensor.device).record_event()

    def wait() -> Tensor:
        copied.synchronize()
        return copy

    return wait


def with_predictions(data_samples: Sequence[BaseDataElement], scores: Tensor) -> list[dict]:
    """What mmengine's evaluator hands to metrics: data samples with their predictions, as dicts.

    They are those that the network's mode 'predict' gives, at less than half the cost of an object for each image.

    Args:
        data_samples: Annotations of N images.
        scores: (N, classes), each row of which sums up to 1.
    """
    labels, num_classes = scores.argmax(dim=1, keepdim=True), scores.shape[1]
    return [
        # A score of its own: ranks exchange it, and a row would be pickled with all of its batch.
        {**sample.to_dict(), 'num_classes': num_classes, 'pred_label': {'score': score.clone(), 'label': label}}
        for sample, score, label in zip(data_samples, scores, labels, strict=True)
    ]
