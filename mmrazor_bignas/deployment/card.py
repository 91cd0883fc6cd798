"""What an exported file says of itself: plain values, the same in every format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import mmrazor_bignas
from mmrazor_bignas.deployment.preprocessing import Preprocessing
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import parse_json

VERSION = 1  # of the values' form
INPUT, OUTPUT = 'images', 'scores'
# A checkpoint's own, which every card has.
OF_CHECKPOINTS = ('mmrazor_bignas_version', 'search_space', 'subnet', 'num_classes')
OF_EXPORTS = ('deployment_version', 'preprocessing', 'input', 'output')


def make_card(
    meta: Mapping[str, Any], preprocessing: Preprocessing, with_preprocessing: bool = False, softmax: bool = False
) -> dict[str, Any]:
    """The card of a network.

    Args:
        meta: Of a static subnet's checkpoint, see :func:`~mmrazor_bignas.engine.checkpoints.subnet_checkpoint`.
        preprocessing: What its images go through.
        with_preprocessing: Whether the file takes uint8 images in RGB, (N, height, width, 3), and normalises them; else
            it takes normalised float32 ones, (N, 3, height, width).
        softmax: Whether it gives probabilities; else logits. Both are (N, classes).
    """
    takes = {'dtype': 'float32', 'layout': 'NCHW', 'channels': preprocessing.channels}
    if with_preprocessing:
        takes = {'dtype': 'uint8', 'layout': 'NHWC', 'channels': 'RGB'}
    return {
        **meta,
        'deployment_version': VERSION,
        'preprocessing': preprocessing.to_dict(),
        'input': {'name': INPUT, 'size': list(preprocessing.size), **takes},
        'output': {'name': OUTPUT, 'kind': 'probabilities' if softmax else 'logits'},
    }


def check_card(card: Mapping[str, Any], source: str) -> None:
    """See that a file is one that this version can use.

    Raises:
        InputError: It is of another project, of another version, or was not exported for use; names the file.
    """
    if missing := [key for key in OF_CHECKPOINTS if key not in card]:
        raise InputError(
            f'{source}: not of a subnet of this project, it says nothing of {", ".join(missing)}; expected a file of '
            'bignas export'
        )
    found = card.get('deployment_version')
    if found is not None and found != VERSION:
        raise InputError(
            f'{source}: written by mmrazor_bignas {card["mmrazor_bignas_version"]} in the form {found!r}; this is '
            f'{mmrazor_bignas.__version__}, which reads the form {VERSION}: export the checkpoint again'
        )
    if missing := [key for key in OF_EXPORTS if key not in card]:
        raise InputError(
            f'{source}: does not say how its images are prepared ({", ".join(missing)}): export it with '
            'bignas export --format pth, or name its config with --config (in Python, config=)'
        )


def class_names(card: Mapping[str, Any]) -> list[str]:
    """A name for every output; its number where none is known."""
    known = list((card.get('dataset_meta') or {}).get('classes') or ())
    return [str(known[i]) if i < len(known) else str(i) for i in range(card['num_classes'])]


def to_texts(card: Mapping[str, Any]) -> dict[str, str]:
    """Every value as JSON, for the metadata of an ONNX file."""
    return {key: json.dumps(value) for key, value in card.items()}


def from_texts(texts: Mapping[str, str], source: str) -> dict[str, Any]:
    """The reverse of :func:`to_texts`; what other programs added is left out.

    Raises:
        InputError: A value of ours is no JSON; names file and key.
    """
    if OF_CHECKPOINTS[0] not in texts:
        return {}
    card = {}
    for key, text in texts.items():
        try:
            card[key] = parse_json(text)
        except InputError as error:
            if key in (*OF_CHECKPOINTS, *OF_EXPORTS):
                raise InputError(f'{source}: its metadata {key}: {error}') from error
    return card
