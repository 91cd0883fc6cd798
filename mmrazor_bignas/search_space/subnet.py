"""SubnetSpec: what was chosen. A value; dict and YAML in and out, in our form and in other projects'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space.formats import ATTENTIVENAS_LABELS, WRITERS, from_mmrazor, is_mmrazor

ROWS = ('resolution', 'width', 'depth', 'kernel_size', 'expand_ratio')


@dataclass(frozen=True)
class SubnetSpec:
    """One choice for every mutable.

    Attributes:
        resolution: Input side length in pixels.
        width: Channels of the stem, of every stage and of the head.
        depth: Blocks of every stage.
        kernel_size: Depthwise kernel size of every stage.
        expand_ratio: Middle width over input width of every stage.
    """

    resolution: int
    width: tuple[int, ...]
    depth: tuple[int, ...]
    kernel_size: tuple[int, ...]
    expand_ratio: tuple[int, ...]

    @classmethod
    def from_dict(cls, rows: Mapping, source: str = 'subnet') -> SubnetSpec:
        """Read the five rows.

        Args:
            rows: Mapping with the keys of :data:`ROWS`, as AttentiveNAS has it too, or MMRazor's of
                ``alias: {'chosen': value}``.
            source: Where it came from (a file name), for messages.

        Raises:
            InputError: A gene is missing or unknown, or a value is no integer or list of integers.
        """
        if not isinstance(rows, Mapping):
            raise InputError(f'{source}: expected a mapping with the genes {list(ROWS)}, found {type(rows).__name__}')
        if is_mmrazor(rows):
            rows = from_mmrazor(rows, source)
        rows = {row: value for row, value in rows.items() if row not in ATTENTIVENAS_LABELS}
        if missing := [row for row in ROWS if row not in rows]:
            raise InputError(f'{source}: missing gene {missing[0]!r}; a subnet has the genes {list(ROWS)}')
        if unknown := [row for row in rows if row not in ROWS]:
            raise InputError(f'{source}: unknown gene {unknown[0]!r}; a subnet has the genes {list(ROWS)}')
        resolution = rows['resolution']
        if not _is_int(resolution):
            raise InputError(f'{source}: resolution is {resolution!r}; expected an integer')
        for row in ROWS[1:]:
            if not isinstance(rows[row], (list, tuple)) or not all(map(_is_int, rows[row])):
                raise InputError(f'{source}: {row} is {rows[row]!r}; expected a list of integers')
        return cls(resolution, *(tuple(rows[row]) for row in ROWS[1:]))

    def to_dict(self) -> dict:
        """The five rows as a number and four lists."""
        return {'resolution': self.resolution, **{row: list(getattr(self, row)) for row in ROWS[1:]}}

    @classmethod
    def from_yaml(cls, path: str | Path) -> SubnetSpec:
        """Read a YAML file.

        Raises:
            InputError: The file is missing, unreadable, no YAML, or no subnet.
        """
        try:
            rows = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
        except OSError as error:
            raise InputError(f'{path}: cannot read the subnet YAML: {error.strerror}') from error
        except (yaml.YAMLError, ValueError) as error:  # a malformed date is a ValueError
            raise InputError(f'{path}: not a YAML file: {" ".join(str(error).split())}') from error
        return cls.from_dict(rows, source=str(path))

    def to_yaml(self, form: str = 'mmrazor_bignas') -> str:
        """YAML that :meth:`from_yaml` reads.

        Args:
            form: Whose: ``'mmrazor_bignas'`` (a row per line), ``'mmrazor'`` (``alias: {chosen: value}``) or
                ``'attentivenas'`` (a dict on one line).

        Raises:
            InputError: The form is unknown.
        """
        if form not in WRITERS:
            raise InputError(f'to_yaml: form is {form!r}; expected one of {list(WRITERS)}')
        return WRITERS[form](self.to_dict())


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
