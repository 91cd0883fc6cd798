"""What people write in YAML and JSON: all of it is read, or none and the line is named."""

import json
import re

import pytest
import yaml
from conftest import ROOT

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import MOST_NESTED, MOST_NODES, parse_json, parse_yaml, read_yaml

FILES = [path for pattern in ('*.yaml', '*.yml') for path in (ROOT / 'configs').rglob(pattern)]


def aliases(first: str, next_one: str, number: int = 30) -> str:
    """Lines of which each names the one before ten times: ten to the power of their number."""
    lines = [f'a0: &a0 {first}']
    return '\n'.join(
        lines + [f'a{i}: &a{i} {next_one.format(", ".join([f"*a{i - 1}"] * 10))}' for i in range(1, number)]
    )


def short(value):
    return str(value)[:30]


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_our_files_are_what_the_safe_loader_reads(path):
    assert read_yaml(path, 'YAML') == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    'text',
    [
        '',
        'a: &a [1, 2]\nb: *a\nc: [*a, *a]',
        'b: &b {x: 1, y: 2}\nc: &c\n  <<: *b\n  y: 3\nd: {<<: [*c, *b], z: 1}',
        '<<: {a: 1}\n<<: {b: 2}',
        '=: 1',
        '? !!binary aGk=\n: 1',
        '[{a: 1}, {a: 2}]',
        'a: {a: {a: 1}}',
        'day: 2026-01-31',
        '[' * MOST_NESTED + '1' + ']' * MOST_NESTED,
    ],
    ids=short,
)
def test_what_is_right_is_what_the_safe_loader_reads(text):
    assert parse_yaml(text, 'x') == parse_yaml(text.encode(), 'x') == yaml.safe_load(text)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('depth: 1\nwidth: 2\ndepth: 3', "mine.yaml, line 3: the key 'depth' is given twice, first in line 1"),
        ('a:\n  b: 1\n  "b": 2', "mine.yaml, line 3: the key 'b' is given twice, first in line 2"),
        ('1: a\n0x1: b', "mine.yaml, line 2: the key '0x1' is given twice"),
        ('\n\n' + '[' * 20_000, f'mine.yaml, line 3: nested more than {MOST_NESTED} levels deep'),
        ('\n'.join(f'{" " * i}a:' for i in range(2 * MOST_NESTED)), 'nested more than'),
        (aliases('[1, 2]', '[{}]'), f'more than {MOST_NODES:,} values'),
        (aliases('{k: 1}', '{{<<: [{}]}}'), f'more than {MOST_NODES:,} values'),
        ('a: 1\nb: &b [*b]', 'mine.yaml, line 2: the alias stands inside what it stands for'),
        ('a: 1\nb: [', 'mine.yaml: not a YAML file: line 2: '),
        ('a: 1\nb: \x00', r"mine.yaml: not a YAML file: line 2: the character '\x00' is not allowed"),
        (b'a: 1\nb: \xff', 'mine.yaml: not a YAML file: line 2: not UTF-8'),
        ('a: 1\nb: 2026-99-99', "mine.yaml: not a YAML file: line 2: '2026-99-99' cannot be read as timestamp"),
        ('!!bool x', "line 1: 'x' cannot be read as bool"),
        ('!!int ""', "line 1: '' cannot be read as int"),
        ('!!map x: 1', 'line 1: expected a mapping node, but found scalar'),
        ('[1]: 2', 'line 1: while constructing a mapping found unhashable key'),
        ('a: !!python/object/apply:os.getcwd []', 'line 1: could not determine a constructor for the tag'),
        ('[' * (MOST_NESTED + 1) + ']' * (MOST_NESTED + 1), 'nested more than'),
        ('--- 1\n--- 2', 'line 2: expected a single document'),
    ],
    ids=short,
)
def test_what_cannot_be_used_is_named_with_its_line(text, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        parse_yaml(text, 'mine.yaml')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'text', ['{"a": [1, {"a": null}]}', '[' * MOST_NESTED + '1' + ']' * MOST_NESTED, 'NaN', '"[[{"'], ids=short
)
def test_json(text):
    assert repr(parse_json(text)) == repr(parse_json(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' is given twice"),
        ('[' * 20_000, 'nested more than'),
        ('[' * (MOST_NESTED + 1) + ']' * (MOST_NESTED + 1), 'nested more than'),
        ('{"a":\n', 'no JSON: Expecting value: line 2 column 1'),
        (b'"\xff"', 'no JSON: .*utf-8'),
        ('1' * 5000, 'no JSON: '),
    ],
    ids=short,
)
def test_what_is_no_json(text, message):
    with pytest.raises(InputError, match=f'^{message}'):
        parse_json(text)
