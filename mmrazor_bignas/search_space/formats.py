"""How other projects write a subnet: as rows of ours, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import yaml

from mmrazor_bignas.errors import InputError

# AttentiveNAS writes our five rows, with a label beside them.
ATTENTIVENAS_LABELS = ('model', 'net_id')

MMRAZOR_RESOLUTION = 'input_shape'
MMRAZOR_STEM = 'backbone.first_channels'
MMRAZOR_HEAD = 'backbone.last_channels'
MMRAZOR_STAGE_ROWS = {
    'out_channels': 'width',
    'depth': 'depth',
    'kernel_size': 'kernel_size',
    'expand_ratio': 'expand_ratio',
}


def mmrazor_stage_alias(stage: int, row: str) -> str:
    """MMRazor's name for a stage's mutable; stages count from 1."""
    return f'backbone.layers.{stage}.{row}'


def is_mmrazor(content: Mapping) -> bool:
    """Whether a mapping is MMRazor's: from aliases of mutables to ``{'chosen': value}``."""
    return any(isinstance(value, Mapping) and 'chosen' in value for value in content.values())


def from_mmrazor(content: Mapping, source: str) -> dict:
    """The five rows of MMRazor's mapping of aliases, with the values that it says.

    Raises:
        InputError: An alias is missing or unknown, has no ``chosen``, or the input is not square.
    """
    chosen = {}
    for alias, value in content.items():
        if not isinstance(value, Mapping) or 'chosen' not in value:
            raise InputError(f'{source}: {alias} is {value!r}; expected MMRazor\'s {{"chosen": value}}')
        chosen[str(alias)] = value['chosen']
    stages = [int(match[1]) for alias in chosen if (match := re.match(r'backbone\.layers\.(\d{1,3})\.', alias))]
    order = range(1, max(stages, default=0) + 1)
    aliases = [MMRAZOR_RESOLUTION, MMRAZOR_STEM, MMRAZOR_HEAD]
    aliases += [mmrazor_stage_alias(stage, row) for stage in order for row in MMRAZOR_STAGE_ROWS]
    if missing := [alias for alias in aliases if alias not in chosen]:
        raise InputError(f"{source}: MMRazor's subnet has no {missing[0]!r}; found {sorted(chosen)[:4]} ...")
    if unknown := [alias for alias in chosen if alias not in aliases]:
        raise InputError(f"{source}: unknown mutable {unknown[0]!r} in MMRazor's subnet; known: {aliases[:7]} ...")
    shape = chosen[MMRAZOR_RESOLUTION]
    sides = shape if isinstance(shape, (list, tuple)) else [shape]
    if len(sides) > 2 or len(set(map(str, sides))) != 1:
        raise InputError(f'{source}: {MMRAZOR_RESOLUTION} is {shape!r}; expected a square, e.g. [224, 224]')
    rows = {
        ours: [chosen[mmrazor_stage_alias(stage, theirs)] for stage in order]
        for theirs, ours in MMRAZOR_STAGE_ROWS.items()
    }
    rows['width'] = [chosen[MMRAZOR_STEM], *rows['width'], chosen[MMRAZOR_HEAD]]
    return {'resolution': sides[0], **rows}


def to_mmrazor(rows: Mapping) -> str:
    """The YAML that MMRazor reads, from the five rows.

    Raises:
        InputError: The blocks of a stage choose by themselves, for which MMRazor's BigNAS has no mutables.
    """
    for row in ('kernel_size', 'expand_ratio'):
        for i, value in enumerate(rows[row]):
            if not isinstance(value, int):
                raise InputError(f"{row}[{i}] is {value}; MMRazor's form has one value per stage: write another form")
    stem, *widths, head = rows['width']
    stage_rows = {**rows, 'width': widths}
    chosen = {MMRAZOR_STEM: stem, MMRAZOR_HEAD: head}
    for i in range(len(widths)):
        for theirs, ours in MMRAZOR_STAGE_ROWS.items():
            chosen[mmrazor_stage_alias(i + 1, theirs)] = stage_rows[ours][i]
    chosen[MMRAZOR_RESOLUTION] = [rows['resolution']] * 2
    return yaml.safe_dump({alias: {'chosen': value} for alias, value in chosen.items()}, sort_keys=False)


def to_attentivenas(rows: Mapping) -> str:
    """AttentiveNAS's dict on one line, as Python, JSON and YAML read it."""
    return json.dumps(rows) + '\n'


def to_ours(rows: Mapping) -> str:
    """Our YAML: the five rows, one per line."""
    return ''.join(f'{row}: {json.dumps(value)}\n' for row, value in rows.items())


WRITERS = {'mmrazor_bignas': to_ours, 'mmrazor': to_mmrazor, 'attentivenas': to_attentivenas}
