"""Evaluate one subnet: extract, calibrate, measure. The supernet is only read."""

from __future__ import annotations

from itertools import chain

import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator

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

    Where ranks share the batches, every rank gets the metrics of all images, each counted once. On a CPU in float32 the
    network runs with its batch normalisation folded into the convolutions, which changes its outputs by rounding alone.
    """
    model.eval()
    if not amp and next(model.parameters()).device.type == 'cpu':  # bfloat16 would round other weights
        model = fold_batch_norm(model)
    for metric in evaluator.metrics:
        metric.results.clear()  # of a model whose evaluation failed half-way
    evaluator.dataset_meta = getattr(batches.dataset, 'metainfo', None)
    for batch in track(batches, 'evaluate', len(batches)):
        with autocast(model, amp):
            predictions = model.test_step(batch)
        evaluator.process(data_samples=predictions, data_batch=batch)
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
    return measured
