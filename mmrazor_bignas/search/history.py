"""History: every evaluated candidate of a search, one JSON line each, after a first line that says of which search."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SubnetSpec

FORMAT = 'mmrazor_bignas search history 1'


class History:
    """The records of a search, on disk as soon as they are added.

    Args:
        path: The file.
        search: What the scores depend on (checkpoint, search space, data, calibration), as JSON values.
        resume: Go on with an existing file. Otherwise an existing file is moved aside, not overwritten.

    Attributes:
        records: ``subnet -> record``; a record has ``generation``, ``score``, ``metrics``, ``flops``, ``params``.
        notes: What happened to the files, for the log.

    Raises:
        InputError: The file is of another search, is no history, or has a foreign line.
    """

    def __init__(self, path: str | Path, search: Mapping, resume: bool) -> None:
        self.path = Path(path)
        self.records: dict[SubnetSpec, dict] = {}
        self.notes: list[str] = []
        self._header = {'format': FORMAT, **json.loads(json.dumps(search))}
        if self.path.exists() and resume:
            self._read()
            return
        if self.path.exists():
            aside = next(
                name for i in range(1, 10**6) if not (name := self.path.with_name(f'{self.path.name}.{i}')).exists()
            )
            self.path.rename(aside)
            self.notes.append(f'moved the history of an earlier search to {aside}; --resume would go on with it')
        self._append(self._header)

    def add(self, subnet: SubnetSpec, record: Mapping) -> None:
        """Append a record and flush it to disk."""
        self._append({**record, 'subnet': subnet.to_dict()})
        self.records[subnet] = dict(record)

    def _append(self, line: Mapping) -> None:
        with open(self.path, 'a') as file:
            file.write(json.dumps(line) + '\n')
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        content = self.path.read_bytes()
        complete, _, half = content.rpartition(b'\n')
        if half:
            self.notes.append(f'{self.path}: dropped a half-written last line; its candidate is evaluated again')
            os.truncate(self.path, len(content) - len(half))
        lines = complete.split(b'\n') if complete else []
        if not lines:
            self._append(self._header)
            return
        header = self._parse(1, lines[0])
        if header != self._header:
            keys = [key for key in {**self._header, **header} if header.get(key) != self._header.get(key)]
            raise InputError(
                f'{self.path}: the history of another search: {keys} differ; search without --resume, or elsewhere'
            )
        for number, line in enumerate(lines[1:], 2):
            record = self._parse(number, line)
            subnet = SubnetSpec.from_dict(record.pop('subnet', None), source=f'{self.path}, line {number}')
            if not isinstance(record.get('score'), (int, float)):
                raise InputError(f'{self.path}, line {number}: has no number "score"')
            self.records[subnet] = record

    def _parse(self, number: int, line: bytes) -> dict:
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f'{self.path}, line {number}: no JSON; a history has one JSON object per line') from error
        if not isinstance(value, dict):
            raise InputError(f'{self.path}, line {number}: expected a JSON object')
        return value


def read_history(path: str | Path) -> dict[SubnetSpec, dict]:
    """The records of a finished or running search, for looking at them.

    Raises:
        InputError: The file is missing or no history.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: no such history')
    records = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line being written
        if number == 1:
            if not isinstance(record, dict) or record.get('format') != FORMAT:
                raise InputError(f'{path}: not a search history')
            continue
        records[SubnetSpec.from_dict(record.pop('subnet'), f'{path}, line {number}')] = record
    return records
