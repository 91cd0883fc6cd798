"""SubnetSpec: what was chosen. A value; dict and YAML in and out, in our form and in other projects'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import read_yaml
from mmrazor_bignas.search_space.formats import ATTENTIVENAS_LABELS, WRITERS, from_mmrazor, is_mmrazor

BLOCK_ROWS = ('kernel_size', 'expand_ratio')  # may be chosen for every block
ROWS = ('resolution', 'width', 'depth', *BLOCK_ROWS)


@dataclass(frozen=True)
class SubnetSpec:
    """One choice for every mutable.

    Attributes:
        resolution: Input side length in pixels.
        width: Channels of the stem, of every stage and of the head.
        depth: Blocks of every stage.
        kernel_size: Depthwise kernel size of every stage; a tuple where its blocks choose by themselves, with one for
            each block that runs, so that equal networks are equal values.
        expand_ratio: Middle width over input width of every stage, or a tuple as above.
    """

    resolution: int
    width: tuple[int, ...]
    depth: tuple[int, ...]
    kernel_size: tuple[int | tuple[int, ...], ...]
    expand_ratio: tuple[int | tuple[int, ...], ...]

    @classmethod
    def from_dict(cls, rows: Mapping, source: str = 'subnet') -> SubnetSpec:
        """Read the five rows.

        Args:
            rows: Mapping with the keys of :data:`ROWS`, as AttentiveNAS has it too, or MMRazor's of
                ``alias: {'chosen': value}``.
            source: Where it came from (a file name), for messages.

        Raises:
            InputError: A gene is missing or unknown, or a value is no integer or list of integers; those of
                :data:`BLOCK_ROWS` may be lists themselves.
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
            nests = row in BLOCK_ROWS
            if not _is_list(rows[row]) or not all(_is_int(v) or (nests and _is_ints(v)) for v in rows[row]):
                more = ', or lists of them where blocks choose by themselves' if nests else ''
                raise InputError(f'{source}: {row} is {rows[row]!r}; expected a list of integers{more}')
        return cls(resolution, *(tuple(tuple(v) if _is_list(v) else v for v in rows[row]) for row in ROWS[1:]))

    def to_dict(self) -> dict:
        """The five rows as a number and four lists, of lists where blocks choose by themselves."""
        lists = {row: [list(v) if isinstance(v, tuple) else v for v in getattr(self, row)] for row in ROWS[1:]}
        return {'resolution': self.resolution, **lists}

    @classmethod
    def from_yaml(cls, path: str | Path) -> SubnetSpec:
        """Read a YAML file.

        Raises:
            InputError: The file is missing, unreadable, no YAML, or no subnet.
        """
        return cls.from_dict(read_yaml(path, 'subnet YAML'), source=str(path))

    def to_yaml(self, form: str = 'mmrazor_bignas') -> str:
        """YAML that :meth:`from_yaml` reads.

        Args:
            form: Whose: ``'mmrazor_bignas'`` (a row per line), ``'mmrazor'`` (``alias: {chosen: value}``) or
                ``'attentivenas'`` (a dict on one line).

        Raises:
            InputError: The form is unknown, or cannot say what this subnet is (MMRazor's, where blocks choose by
                themselves).
        """
        if form not in WRITERS:
            raise InputError(f'to_yaml: form is {form!r}; expected one of {list(WRITERS)}')
        return WRITERS[form](self.to_dict())


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _is_ints(value: object) -> bool:
    return _is_list(value) and len(value) > 0 and all(map(_is_int, value))
