"""History: every evaluated candidate of a search, one JSON line each, after a first line that says of which search."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mmrazor_bignas.errors import InputError, StorageError
from mmrazor_bignas.reading import parse_json
from mmrazor_bignas.search_space import SubnetSpec

FORMAT = 'mmrazor_bignas search history 1'
# The generation of a record that came from another search's history.
BEFORE = -1
MOST_GENERATIONS = 10**6


class History:
    """The records of a search, on disk as soon as they are added.

    Args:
        path: The file.
        search: What the scores depend on (checkpoint, search space, data, calibration), as JSON values.
        resume: Go on with an existing file. Otherwise it is moved aside when the first record is added: a search that
            fails before leaves it where it was.

    Attributes:
        records: ``subnet -> record``; a record has ``generation``, ``score``, ``metrics``, ``flops``, ``params``.
        notes: What happened to the files, for the log.

    Raises:
        InputError: The file is of another search, is no history, or has a foreign line.
        StorageError: The file cannot be written.
    """

    def __init__(self, path: str | Path, search: Mapping, resume: bool) -> None:
        self.path = Path(path)
        self.records: dict[SubnetSpec, dict] = {}
        self.notes: list[str] = []
        self._header = _header_of(search)
        self._aside: Path | None = None  # where an earlier file is to go
        if self.path.exists() and resume:
            self._read()
        elif self.path.exists():
            aside = (self.path.with_name(f'{self.path.name}.{i}') for i in range(1, 10**6))
            self._aside = next(path for path in aside if not path.exists())
            self.notes.append(
                f'{self.path} is of an earlier search: it goes to {self._aside}; --resume would go on with it'
            )
        else:
            self._append(self._header)

    def add(self, subnet: SubnetSpec, record: Mapping) -> None:
        """Append a record and flush it to disk."""
        self._append({**record, 'subnet': subnet.to_dict()})
        self.records[subnet] = dict(record)

    def take_over(self, path: str | Path, known: Mapping[SubnetSpec, Mapping]) -> None:
        """Add the scores that an earlier search's history at ``path`` knows, as of generation :data:`BEFORE`."""
        taken = {s: record for s, record in known.items() if s not in self.records and 'error' not in record}
        records = {subnet: {**record, 'generation': BEFORE} for subnet, record in taken.items()}
        if records:
            self._append(*({**record, 'subnet': subnet.to_dict()} for subnet, record in records.items()))
            self.records |= records
            self.notes.append(f'took over {len(taken)} candidates from {path}')

    def _append(self, *lines: Mapping) -> None:
        try:
            if self._aside is not None:
                self.path.rename(self._aside)
                self._aside = None
                lines = (self._header, *lines)
            with open(self.path, 'ab') as file:
                file.write(b''.join(map(_line, lines)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f'{self.path}: could not be written: {error.strerror}; --resume goes on with the lines that are there'
            ) from error

    def _read(self) -> None:
        content = self.path.read_bytes()
        first, *lines, half = content.split(b'\n') if b'\n' in content else (None, content)
        if first is None:
            # Cut off within its first line, or empty: begins anew, unless it is somebody else's.
            if not _line(self._header).startswith(half):
                raise InputError(f'{self.path}: not a search history')
            os.truncate(self.path, 0)
            self._append(self._header)
            return
        _check_header(self.path, _header(self.path, first), self._header, 'search without --resume, or elsewhere')
        self.records = dict(_record(self.path, number, line) for number, line in enumerate(lines, 2))
        if half:
            self.notes.append(f'{self.path}: dropped a half-written last line; its candidate is evaluated again')
            os.truncate(self.path, len(content) - len(half))


def read_known(path: str | Path, search: Mapping) -> dict[SubnetSpec, dict]:
    """The records of an earlier search whose scores depend on the same as this one's.

    Raises:
        InputError: As :func:`read_history`, or the scores there depend on something else.
    """
    known = read_history(path)
    with Path(path).open('rb') as file:
        header = _header(Path(path), file.readline())
    _check_header(Path(path), header, _header_of(search), 'name a history of the same')
    return known


def read_history(path: str | Path) -> dict[SubnetSpec, dict]:
    """The records of a finished or running search, for looking at them.

    Raises:
        InputError: The file is missing or no history, or has a foreign line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: no such history')
    first, *lines = path.read_bytes().split(b'\n')
    _header(path, first)
    # What follows the last line break is empty, or being written.
    return dict(_record(path, number, line) for number, line in enumerate(lines[:-1], 2))


def _line(value: Mapping) -> bytes:
    return json.dumps(value).encode() + b'\n'


def _parse(path: Path, number: int, line: bytes) -> dict:
    try:
        value = parse_json(line)
    except InputError as error:
        raise InputError(f'{path}, line {number}: {error}; a history has one JSON object per line') from error
    if not isinstance(value, dict):
        raise InputError(f'{path}, line {number}: expected a JSON object')
    return value


def _header_of(search: Mapping) -> dict:
    """The first line of a search's history, as it is read back."""
    return {'format': FORMAT, **json.loads(json.dumps(search))}


def _header(path: Path, line: bytes) -> dict:
    header = _parse(path, 1, line)
    if header.get('format') != FORMAT:
        raise InputError(f'{path}: not a search history; its first line has no "format": "{FORMAT}"')
    return header


def _check_header(path: Path, header: Mapping, expected: Mapping, advice: str) -> None:
    if keys := [key for key in {**expected, **header} if header.get(key) != expected.get(key)]:
        raise InputError(f'{path}: the history of another search: {keys} differ; {advice}')


def _record(path: Path, number: int, line: bytes) -> tuple[SubnetSpec, dict]:
    record = _parse(path, number, line)
    subnet = SubnetSpec.from_dict(record.pop('subnet', None), source=f'{path}, line {number}')
    for key in ('score', 'flops', 'params', *({'latency'} & set(record))):
        value = record.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f'{path}, line {number}: "{key}" is {value!r}; expected a number')
    generation, metrics = record.setdefault('generation', 0), record.setdefault('metrics', {})
    if type(generation) is not int or not BEFORE <= generation < MOST_GENERATIONS:
        raise InputError(f'{path}, line {number}: "generation" is {generation!r}; expected an integer from {BEFORE} on')
    if not isinstance(metrics, dict):
        raise InputError(f'{path}, line {number}: "metrics" is {metrics!r}; expected an object')
    return subnet, record
