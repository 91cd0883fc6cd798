"""``--cfg-options KEY=VALUE ...``: how a value on the command line is read, and written."""

from __future__ import annotations

import argparse
import ast
import re
import warnings
from collections.abc import Sequence

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import MOST_NESTED

CLOSERS = {'(': ')', '[': ']', '{': '}'}
QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
SPACE = re.compile(r'\s')
SHOWN = 20  # characters of a value in a message


class CfgOptions(argparse.Action):
    """Collects ``KEY=VALUE`` words into a dict; the last value of a key counts.

    Raises:
        InputError: A word cannot be read.
    """

    def __call__(self, parser, namespace, words: Sequence[str], option_string=None) -> None:
        options = dict(getattr(namespace, self.dest))
        for word in words:
            key, equals, text = word.partition('=')
            if not equals or not all(key.split('.')):
                raise InputError(f'--cfg-options {word}: expected KEY=VALUE, the names in KEY joined by dots')
            try:
                options[key] = parse_value(text)
            except InputError as error:
                raise InputError(f'--cfg-options {key}: {error}') from error
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> object:
    """What a value on the command line means.

    Numbers, ``True``, ``False``, ``None``, quoted texts, ``[...]``, ``(...)`` and ``{key: ...}`` are what they are in a
    config. Any other word is a text, so that names need no quotes, in brackets too. Unlike in Python ``a,b`` is a
    list, ``(a)`` a tuple, and ``true`` and ``false`` are booleans.

    Raises:
        InputError: Something does not fit; says what was expected and where, counting characters from 1.
    """
    word = text.strip()
    if ',' not in word and not word.startswith((*CLOSERS, '"', "'")):
        return _constant(word)
    return _Reader(text).whole()


def write_value(value: object) -> str:
    """The text that :func:`parse_value` reads as ``value``: a text without quotes, where that is possible."""
    if isinstance(value, str):
        try:
            if parse_value(value) == value:
                return value
        except InputError:
            pass
    return repr(value)


class _Reader:
    """Reads a value from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.depth = text, 0, 0

    def whole(self) -> object:
        values, commas = self.elements('')
        return values if commas else values[0]

    def elements(self, closer: str) -> tuple[list, bool]:
        """Values up to ``closer`` or the end, and whether a comma is among them."""
        values, commas = [], False
        while self.next() not in ('', closer):
            values.append(self.value(',' + closer))
            if self.next() == ',':
                self.place += 1
                commas = True
            elif self.next() not in ('', closer):
                end = f'"{closer}"' if closer else 'the end; a text that begins so needs quotes around all of it'
                raise self.error(f'expected a comma or {end}')
        return values, commas

    def items(self) -> dict:
        """Keys and values up to the closing brace or the end."""
        found = {}
        while self.next() not in ('', '}'):
            begin = self.place
            if self.next() in CLOSERS:
                raise self.error('expected a key: a name, a number or a quoted text')
            key = self.value(':,}')
            if self.next() != ':' or key == '':
                raise self.error('expected a colon after the key' if key != '' else 'expected a key')
            self.place += 1
            if self.next() in (',', '}'):
                raise self.error(f'expected the value of {key!r}')
            if key in found:
                raise self.error(f'the key {key!r} is given twice', begin)
            found[key] = self.value(',}')
            if self.next() == ',':
                self.place += 1
            elif self.next() not in ('', '}'):
                raise self.error('expected a comma or "}"')
        return found

    def value(self, stops: str) -> object:
        """One value; a word goes up to one of ``stops``."""
        first = self.next()
        if first in CLOSERS:
            return self.bracket(first)
        return self.quoted() if first in ('"', "'") else self.word(stops)

    def bracket(self, opener: str) -> list | tuple | dict:
        begin, closer = self.place, CLOSERS[opener]
        if self.depth == MOST_NESTED:
            raise self.error(f'nested more than {MOST_NESTED} brackets deep')
        self.place += 1
        self.depth += 1
        value = self.items() if opener == '{' else self.elements(closer)[0]
        if self.next() != closer:
            raise self.error(f'the "{opener}" is not closed', begin)
        self.place += 1
        self.depth -= 1
        return tuple(value) if opener == '(' else value

    def quoted(self) -> str:
        match = QUOTED.match(self.text, self.place)
        if not match:
            raise self.error('the quote is not closed')
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of backslashes that begin no escape, as in a regular expression
                value = ast.literal_eval(match[0])
        except (SyntaxError, ValueError) as error:
            raise self.error(f'no quoted text of Python: {error.args[0]}') from error
        self.place = match.end()
        return value

    def word(self, stops: str) -> object:
        """A name or a number; brackets in it must match, and hide commas."""
        begin, closers = self.place, []
        while self.place < len(self.text) and (closers or self.text[self.place] not in stops):
            char = self.text[self.place]
            if char in CLOSERS:
                closers.append(CLOSERS[char])
            elif closers and char == closers[-1]:
                closers.pop()
            elif char in CLOSERS.values():
                raise self.error(f'expected "{closers[-1]}"' if closers else f'"{char}" closes nothing')
            self.place += 1
        if closers:
            raise self.error(f'expected "{closers[-1]}"')
        word = self.text[begin : self.place].strip()
        if self.depth and (space := SPACE.search(word)):
            raise self.error('expected a comma; in brackets a text with spaces needs quotes', begin + space.start())
        return _constant(word)

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        while self.text[self.place : self.place + 1].isspace():
            self.place += 1
        return self.text[self.place : self.place + 1]

    def error(self, problem: str, place: int | None = None) -> InputError:
        place = self.place if place is None else place
        rest = self.text[place : place + SHOWN] + ('...' if len(self.text) > place + SHOWN else '')
        where = f'at character {place + 1}, {rest!r}' if rest else 'at its end'
        return InputError(f'the value cannot be read {where}: {problem}')


def _constant(word: str) -> object:
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            pass
    if word.lower() in ('true', 'false'):
        return word.lower() == 'true'
    return None if word == 'None' else word
