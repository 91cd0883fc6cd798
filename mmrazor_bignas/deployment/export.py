"""From a checkpoint to a file that is known to work."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmrazor_bignas.api import load_static
from mmrazor_bignas.deployment.card import make_card
from mmrazor_bignas.deployment.checking import accuracies, compare, images_of, require
from mmrazor_bignas.deployment.formats import FORMATS, OPSET, Run, need, write_card
from mmrazor_bignas.deployment.int8 import SCHEME, calibration_images, quantise
from mmrazor_bignas.deployment.network import DeployedNetwork, as_input
from mmrazor_bignas.deployment.preprocessing import preprocessing_of, test_loader
from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.checkpoints import check_classes, read_checkpoint, subnet_checkpoint
from mmrazor_bignas.engine.storage import check_target, write_atomically
from mmrazor_bignas.errors import ExportFailed, InputError
from mmrazor_bignas.models import SearchableImageClassifier, fold_batch_norm

CHECKED_IMAGES = 256
MAX_LOSS = 1.0  # points of top-1 accuracy


@dataclass(frozen=True)
class Wishes:
    """What a file is to be.

    Attributes:
        format: One of :data:`~mmrazor_bignas.deployment.formats.FORMATS`.
        fold_bn: Batch normalisation folded into the convolutions.
        softmax: Probabilities in the place of logits.
        with_preprocessing: It takes uint8 images, not normalised ones.
        int8: Quantised; folds, too.
        max_loss: How many points of top-1 accuracy this may cost.
    """

    format: str
    fold_bn: bool = False
    softmax: bool = False
    with_preprocessing: bool = False
    int8: bool = False
    max_loss: float = MAX_LOSS

    def check(self, out: Path) -> None:
        """See that they can be had, and that the name of the file fits.

        Raises:
            InputError: They cannot; names the option.
        """
        kind = FORMATS[self.format]
        if out.suffix != kind.suffix:
            raise InputError(f'--out {out}: expected a name that ends in {kind.suffix} for --format {self.format}')
        check_target(out, f'--out {out}')
        for name in ('fold_bn', 'softmax', 'with_preprocessing'):
            if getattr(self, name) and not kind.is_graph:
                graphs = [known for known, one in FORMATS.items() if one.is_graph]
                raise InputError(
                    f'--{name.replace("_", "-")}: a checkpoint holds weights alone; expected --format {graphs}'
                )
        if self.int8 and self.format != 'onnx':
            raise InputError(f'--int8: expected --format onnx, not {self.format}')
        if not 0 <= self.max_loss <= 100:
            raise InputError(f'--max-loss {self.max_loss}: expected 0 to 100 points')
        need(kind.libraries, f'--format {self.format}')


def static_checkpoint(
    cfg: Config, mutable_cfg: object, path: str | Path, pickled: str | Path | None = None
) -> tuple[SearchableImageClassifier, dict[str, Any], str]:
    """A static subnet, its checkpoint, and what it was made from: ``'subnet'`` or ``'supernet'``.

    Args:
        cfg: Says what the supernet is, and what to calibrate on.
        mutable_cfg: The subnet; None for that of an exported subnet's checkpoint.
        path: An exported subnet's checkpoint, or a supernet's.
        pickled: The one file that may be unpickled.

    Raises:
        InputError: See :func:`~mmrazor_bignas.api.load_static`; or nothing says which subnet.
    """
    if mutable_cfg is None:
        mutable_cfg = _meta_of(path, pickled).get('subnet')
    if mutable_cfg is None:
        raise InputError(f'{path}: does not say which subnet it is; --mutable-cfg names one')
    model, found = load_static(cfg, mutable_cfg, path, pickled)
    meta = _meta_of(path, pickled)
    metrics = meta.get('metrics', {}) if found == 'subnet' else {}
    return model, subnet_checkpoint(model, metrics, (meta.get('dataset_meta') or {}).get('classes')), found


def _meta_of(path: str | Path, pickled: str | Path | None) -> Mapping[str, Any]:
    return read_checkpoint(path, head_only=True, pickled=pickled)['meta']


def export(
    cfg: Config,
    model: SearchableImageClassifier,
    meta: Mapping[str, Any],
    out: str | Path,
    wishes: Wishes,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Write a static network to a file, and compare it with the network on the config's test images first.

    Args:
        cfg: Says how images are prepared, and has the test images.
        model: The network, in eval mode.
        meta: Of its checkpoint.
        out: The file; it is written when all has been checked.
        wishes: What it is to be.
        say: Takes a line for each thing that was found out.

    Returns:
        The file's card.

    Raises:
        InputError: A wish cannot be had, images are missing, or the pipeline has a step that cannot be described.
        ExportFailed: The file computes something else, or int8 costs too much.
    """
    out = Path(out)
    wishes.check(out)
    key, loader = test_loader(cfg)
    batches = FixedBatches(**{**loader, 'cache': False})
    known = getattr(batches.dataset, 'metainfo', {}).get('classes')
    if note := check_classes({'meta': meta}, batches.dataset, 'the checkpoint'):
        say(note)
    if not meta.get('dataset_meta') and known and len(known) == meta['num_classes']:
        meta = {**meta, 'dataset_meta': {'classes': list(map(str, known))}}
    first, _ = next(images_of(batches, 1))
    preprocessing = preprocessing_of(cfg, first.shape[-2:])
    if tuple(first.shape[-2:]) != preprocessing.size:
        raise InputError(
            f'{key}: images are {tuple(first.shape[-2:])} after the pipeline, smaller than its crop of '
            f'{preprocessing.size}; resize them to that or more'
        )
    card = make_card(meta, preprocessing, wishes.with_preprocessing, wishes.softmax)
    card |= {'format': wishes.format, 'folded': wishes.fold_bn or wishes.int8}
    if wishes.format == 'onnx':
        card['opset'] = OPSET
    network = DeployedNetwork(model, card)
    kind = FORMATS[wishes.format]
    example = as_input(first[:1].expand(2, -1, -1, -1), card)  # a batch of one would be taken for a constant
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'model{kind.suffix}'
        exported = DeployedNetwork(fold_batch_norm(model), card) if card['folded'] else network
        kind.write(exported, example, card, path)
        run = kind.load(path)
        agreement = compare(network, run, images_of(batches, CHECKED_IMAGES), card)
        require(agreement, str(out))
        say(f'checked: {agreement}')
        if wishes.int8:
            path, card = _in_int8(cfg, path, card, run, batches, out, wishes.max_loss, say)
        write_atomically(out, lambda file: file.write(path.read_bytes()))
    say(f'{out}: {_in_words(card)}')
    return card


def _in_int8(
    cfg: Config,
    path: Path,
    card: dict[str, Any],
    run: Run,
    batches: FixedBatches,
    out: Path,
    max_loss: float,
    say: Callable[[str], object],
) -> tuple[Path, dict[str, Any]]:
    """The quantised twin of a file, in the same folder, and its card."""
    small = path.with_name('int8.onnx')
    calibration = calibration_images(cfg)
    quantise(path, small, images_of(calibration), card)
    found = accuracies({'float32': run, 'int8': FORMATS['onnx'].load(small)}, images_of(batches), card)
    loss = found['float32'] - found['int8']
    words = f'top-1 on {len(batches.dataset):,} test images: float32 {found["float32"]:.2f}, int8 {found["int8"]:.2f}'
    if not loss <= max_loss or not math.isfinite(loss):
        raise ExportFailed(f'{out}: {words}; it loses {loss:.2f} points, --max-loss allows {max_loss:g}')
    say(words)
    card = {**card, 'int8': {'scheme': SCHEME, 'calibration_images': calibration.num_images, 'top1': found}}
    write_card(small, card)
    return small, card


def _in_words(card: Mapping[str, Any]) -> str:
    takes, size = card['input'], ', '.join(map(str, card['input']['size']))
    shape = f'(N, {size}, 3)' if takes['layout'] == 'NHWC' else f'(N, 3, {size})'
    kind = card['format'] + (f', opset {card["opset"]}' if 'opset' in card else '')
    kind += ', int8' if 'int8' in card else ''
    scale = 'levels of 0 to 255' if takes['dtype'] == 'uint8' else 'normalised'
    top1 = card['metrics'].get('accuracy/top1')
    return (
        f'{kind}; {takes["dtype"]} images {shape} in {takes["channels"]}, {scale}, to {card["output"]["kind"]} of '
        f'{card["num_classes"]} classes; {card["flops"]:,} FLOPs, {card["params"]:,} params'
        + (f', top-1 {top1:.2f}' if top1 is not None else '')
    )
