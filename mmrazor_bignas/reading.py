"""YAML and JSON as people write them: what would be lost, would hang or is nested beyond sense is an error."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import yaml

from mmrazor_bignas.errors import InputError

MOST_NESTED = 50  # brackets, or levels, within one another
MOST_NODES = 20_000  # of a YAML file, every alias counted as all that it stands for
SPECIAL_KEYS = ('tag:yaml.org,2002:merge', 'tag:yaml.org,2002:value')  # << and =


def read_yaml(path: str | Path, what: str) -> object:
    """The content of a YAML file.

    Args:
        path: The file, in UTF-8.
        what: What it should be, for the message of a file that cannot be read.

    Raises:
        InputError: The file cannot be read; or see :func:`parse_yaml`.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot read the {what}: {error.strerror}') from error
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes | str, source: str) -> object:
    """The value of a YAML text, by the safe loader.

    Args:
        content: The text; bytes are UTF-8.
        source: Where it came from (a file name), for messages.

    Raises:
        InputError: It is no YAML, gives a key twice, has more than :data:`MOST_NESTED` levels or more than
            :data:`MOST_NODES` values, or an alias stands inside what it stands for. Names source and line.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        loader = _Loader(text, source)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise InputError(f'{source}: not a YAML file: line {line}: not UTF-8') from error
    except yaml.reader.ReaderError as error:
        line = text.count('\n', 0, error.position) + 1
        problem = f'the character {chr(error.character)!r} is not allowed'
        raise InputError(f'{source}: not a YAML file: line {line}: {problem}') from error
    except yaml.MarkedYAMLError as error:
        words = ' '.join(filter(None, (error.context, error.problem)))
        line = f'line {error.problem_mark.line + 1}: ' if error.problem_mark else ''
        raise InputError(f'{source}: not a YAML file: {line}{" ".join(words.split())}') from error


def parse_json(content: bytes | str) -> object:
    """The value of a JSON text.

    Raises:
        InputError: It is no JSON, gives a key twice, or has more than :data:`MOST_NESTED` levels. Says what and, of
            what is no JSON, where in the text; the caller knows the file.
    """
    try:
        value = json.loads(content, object_pairs_hook=_with_each_key_once)
    except RecursionError as error:
        raise InputError(f'nested more than {MOST_NESTED} levels deep') from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f'no JSON: {error}') from error
    level = _nested([value])
    for _ in range(MOST_NESTED):
        level = [child for parent in level for child in _nested(parent)]
    if level:
        raise InputError(f'nested more than {MOST_NESTED} levels deep')
    return value


def _with_each_key_once(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise InputError(f'the key {twice!r} is given twice')
    return found


def _nested(value: list | dict) -> list[list | dict]:
    children = value.values() if isinstance(value, dict) else value
    return [child for child in children if isinstance(child, (list, dict))]


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses what it would lose, or take for ever to build or print."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.name = source
        self._depth = 0
        self._nodes = 0
        self._nodes_of: dict[yaml.Node, int] = {}  # with all below them

    def compose_node(self, parent, index):
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if node not in self._nodes_of:
                raise self._error(mark, 'the alias stands inside what it stands for')
            self._nodes += self._nodes_of[node]
        else:
            if self._depth == MOST_NESTED and not self.check_event(yaml.ScalarEvent):
                raise self._error(mark, f'nested more than {MOST_NESTED} levels deep')
            before = self._nodes
            self._nodes += 1
            self._depth += 1
            node = super().compose_node(parent, index)
            self._depth -= 1
            self._nodes_of[node] = self._nodes - before
        if self._nodes > MOST_NODES:
            raise self._error(mark, f'more than {MOST_NODES:,} values, every alias counted as all that it stands for')
        return node

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        lines: dict[object, int] = {}
        for key, _ in node.value:
            # Other nodes cannot be keys, which the constructor says; << may merge several mappings.
            if not isinstance(key, yaml.ScalarNode) or key.tag in SPECIAL_KEYS:
                continue
            value = self.construct_object(key, deep=True)
            if value in lines:
                raise self._error(key.start_mark, f'the key {key.value!r} is given twice, first in line {lines[value]}')
            lines[value] = key.start_mark.line + 1
        return node

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:  # such as a 99th of May
            text = f'{node.value[:40]!r} cannot be read as {node.tag.rpartition(":")[2]}'
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from error

    def _error(self, mark: yaml.Mark, problem: str) -> InputError:
        return InputError(f'{self.name}, line {mark.line + 1}: {problem}')
