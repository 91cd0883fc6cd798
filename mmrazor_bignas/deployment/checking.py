"""Does a file compute what the network computes? On a config's own test images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmrazor_bignas.deployment.formats import Run
from mmrazor_bignas.deployment.network import as_input
from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.progress import track
from mmrazor_bignas.errors import ExportFailed, InputError

TOLERANCE = 1e-4  # of the largest score
Images = tuple[Tensor, Tensor]  # a batch: (N, 3, H, W) uint8 in BGR, and its labels (N,)


@dataclass(frozen=True)
class Agreement:
    """How a file's scores differ from the network's.

    Attributes:
        images: How many were compared.
        difference: The largest, over the largest score.
        other_classes: Images with another class, near ties aside: two scores of the network within the tolerance.
    """

    images: int
    difference: float
    other_classes: int

    def __str__(self) -> str:
        classes = f'{self.other_classes} other classes' if self.other_classes else 'the same classes'
        return f'{self.images:,} test images: largest difference {self.difference:.1e} of the largest score, {classes}'


def images_of(batches: FixedBatches, at_least: int | None = None) -> Iterator[Images]:
    """Batches of images and labels.

    Args:
        batches: Of a data set through its test pipeline.
        at_least: Stop after as many; None for all.

    Raises:
        InputError: Images of a batch have several sizes.
    """
    seen = 0
    for batch in track(batches, 'test images', len(batches)):
        images = batch['inputs']
        if not isinstance(images, Tensor):
            sizes = sorted({str(tuple(image.shape[-2:])) for image in images})
            raise InputError(
                f'test images have the sizes {", ".join(sizes[:3])} after their pipeline; a file takes one size: add '
                'Resize or CenterCrop'
            )
        yield images, torch.cat([sample.gt_label.label for sample in batch['data_samples']])
        seen += len(images)
        if at_least is not None and seen >= at_least:
            return


@torch.no_grad()
def compare(network: Run, run: Run, images: Iterable[Images], card: Mapping[str, Any]) -> Agreement:
    """Compare what a file computes with the network itself.

    Args:
        network: What is right.
        run: What the file computes.
        images: See :func:`images_of`.
        card: Of the file; says what both take.
    """
    expected, found = [], []
    for batch, _ in images:
        inputs = as_input(batch, card)
        expected.append(network(inputs))
        found.append(run(inputs))
    expected, found = torch.cat(expected), torch.cat(found)
    scale = expected.abs().max()
    # The network's own score of the file's choice.
    lost = expected.max(1).values - expected.gather(1, found.argmax(1, keepdim=True))[:, 0]
    return Agreement(
        len(expected),
        float((found - expected).abs().max() / scale),
        int((lost > TOLERANCE * scale).sum()),
    )


def require(agreement: Agreement, what: str) -> None:
    """See that a file does what the network does.

    Raises:
        ExportFailed: It does not.
    """
    if not agreement.difference <= TOLERANCE or agreement.other_classes:  # no number is no agreement
        raise ExportFailed(f'{what}: {agreement}; expected at most {TOLERANCE:.0e} and the same classes')


@torch.no_grad()
def accuracies(runs: Mapping[str, Run], images: Iterable[Images], card: Mapping[str, Any]) -> dict[str, float]:
    """Top-1 accuracy in per cent of several files that take the same, by name."""
    right, seen = dict.fromkeys(runs, 0), 0
    for batch, labels in images:
        inputs = as_input(batch, card)
        seen += len(labels)
        for name, run in runs.items():
            right[name] += int((run(inputs).argmax(1) == labels).sum())
    return {name: 100 * number / seen for name, number in right.items()}
