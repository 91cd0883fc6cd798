"""--cfg-options: what mmengine reads is read as before, and what a config can say can be said."""

import argparse
import re
from math import inf

import pytest
from mmengine.config import DictAction

from mmrazor_bignas.engine.cfg_options import CfgOptions, parse_value, write_value
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import MOST_NESTED

MIXUP = {'augments': [{'type': 'Mixup', 'alpha': 0.2}]}


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('', ''),
        (' ', ''),
        ('min', 'min'),
        ('data/x.yaml', 'data/x.yaml'),
        ('lr=0.1', 'lr=0.1'),
        ('http://host:80/x?a=b', 'http://host:80/x?a=b'),
        ('$HOME/~x', '$HOME/~x'),
        ("it's", "it's"),
        ('a]', 'a]'),
        ('x[', 'x['),
        ('a{b}', 'a{b}'),
        ('3', 3),
        ('-5', -5),
        ('007', 7),
        ('1_000', 1000),
        ('0x10', '0x10'),
        ('1e6', 1e6),
        ('inf', inf),
        ('True', True),
        ('false', False),
        ('TRUE', True),
        ('None', None),
        ('none', 'none'),
        ('a,b', ['a', 'b']),
        ('1,2.5,None,true', [1, 2.5, None, True]),
        ('1,', [1]),
        (',', ['']),
        ('a,,b', ['a', '', 'b']),
        ('[]', []),
        ('()', ()),
        ('[a,b]', ['a', 'b']),
        ('[ a , b ]', ['a', 'b']),
        ('[1,]', [1]),
        ('(1)', (1,)),
        ('(0,300e6)', (0, 300e6)),
        ('(0, 300e6)', (0, 300e6)),
        ('[x=1,y:2]', ['x=1', 'y:2']),
        ('[(1,2),[a,b],c]', [(1, 2), ['a', 'b'], 'c']),
        ('(1,2),3', [(1, 2), 3]),
        ('[[],()]', [[], ()]),
        ("'min'", 'min'),
        ('["a","b"]', ['a', 'b']),
    ],
)
def test_as_mmengine_reads_it(text, value):
    assert repr(parse_value(text)) == repr(DictAction._parse_iterable(text)) == repr(value)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        (repr(MIXUP), MIXUP),
        ('{augments: [{type: Mixup, alpha: 0.2}]}', MIXUP),
        (str(MIXUP).replace(' ', ''), MIXUP),
        ('{}', {}),
        ("{'a': 1,}", {'a': 1}),
        ("{'a': None, 'b': True, 'c': (1,), 'd': [{}, []]}", {'a': None, 'b': True, 'c': (1,), 'd': [{}, []]}),
        ('{1: a, 2.5: b}', {1: 'a', 2.5: 'b'}),
        ('{url: http://host:80/x}', {'url': 'http://host:80/x'}),
        ('[{a:1},{a:2}]', [{'a': 1}, {'a': 2}]),
        ("'5'", '5'),
        ("['1', 'None', '[a, b]']", ['1', 'None', '[a, b]']),
        ('"a,b"', 'a,b'),
        (r"'it\'s {\n}'", "it's {\n}"),
        (r"'\d+'", r'\d+'),
        ('""', ''),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ('RandAugment(2,9)', 'RandAugment(2,9)'),
        ('[f(1,2),g{a,b}]', ['f(1,2)', 'g{a,b}']),
        ('my folder/[best].yaml', 'my folder/[best].yaml'),
        ('a b,c', ['a b', 'c']),
        ('[' * MOST_NESTED + ']' * MOST_NESTED, eval('[' * MOST_NESTED + ']' * MOST_NESTED)),
    ],
)
def test_as_a_config_says_it(text, value):
    """Where mmengine's parser never ends, or gives something else."""
    assert repr(parse_value(text)) == repr(value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("{'a': 1", """at character 1, "{'a': 1": the "{" is not closed"""),
        ('[1, (2]', 'at character 7, \']\': "]" closes nothing'),
        ('[1,2', 'at character 1, \'[1,2\': the "[" is not closed'),
        ('1,2]', 'at character 4, \']\': "]" closes nothing'),
        ("['a' 'b']", """at character 6, "'b']": expected a comma or "]\""""),
        ('{a: 1 b: 2}', "at character 6, ' b: 2}': expected a comma; in brackets a text with spaces needs quotes"),
        ("{'a' 1}", "at character 6, '1}': expected a colon after the key"),
        ('{a}', "at character 3, '}': expected a colon after the key"),
        ('{a: }', "at character 5, '}': expected the value of 'a'"),
        ('{: 1}', "at character 2, ': 1}': expected a key"),
        ('{[1]: 2}', "at character 2, '[1]: 2}': expected a key: a name, a number or a quoted text"),
        ('{a: 1, a: 2}', "at character 8, 'a: 2}': the key 'a' is given twice"),
        ("{'a': 1} x", "at character 10, 'x': expected a comma or the end; a text that begins so needs quotes"),
        ('[best].yaml', "at character 7, '.yaml': expected a comma or the end; a text that begins so needs quotes"),
        ("'a", 'at character 1, "\'a": the quote is not closed'),
        (r"'\x'", 'at character 1, "\'\\\\x\'": no quoted text of Python: '),
        ('f(1,[2)', 'at character 7, \')\': expected "]"'),
        ('a,f(1', 'at its end: expected ")"'),
        ('[' * 20_000, f"at character {MOST_NESTED + 1}, '[[[[[[[[[[[[[[[[[[[[...': nested more than {MOST_NESTED}"),
        ('{a:' * 20_000, 'nested more than'),
    ],
    ids=lambda it: it[:30],
)
def test_what_cannot_be_read_shows_its_place(text, message):
    with pytest.raises(InputError, match='the value cannot be read .*' + re.escape(message)) as error:
        parse_value(text)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'value',
    [
        MIXUP,
        'min',
        'a,b',
        '5',
        '',
        'None',
        "it's",
        '[x',
        '{',
        ' a ',
        5,
        0.1,
        -inf,
        None,
        True,
        [1, 'a b'],
        (0, 1e9),
        (),
    ],
)
def test_what_is_written_is_read_back(value):
    assert repr(parse_value(write_value(value))) == repr(value)


def test_a_text_is_written_as_it_is_where_that_is_possible():
    assert write_value('work dir/x.yaml') == 'work dir/x.yaml'


def parse(*words: str) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, default={})
    return parser.parse_args(words).cfg_options


def test_options_are_collected_and_the_last_value_counts():
    assert parse() == {}
    words = ['--cfg-options', 'a.b=x=1', 'c=1', '--cfg-options', 'c=2', f'a.d={MIXUP}']
    assert parse(*words) == {'a.b': 'x=1', 'c': 2, 'a.d': MIXUP}
    assert parse() == {}


@pytest.mark.parametrize('word', ['lr', '=5', 'a..b=1', '.a=1', 'a.=1'])
def test_a_word_that_is_no_option(word):
    with pytest.raises(InputError, match=f'^--cfg-options {re.escape(word)}: expected KEY=VALUE'):
        parse('--cfg-options', word)


def test_a_value_that_cannot_be_read_is_named_with_its_key():
    with pytest.raises(InputError, match=r'^--cfg-options a\.b: the value cannot be read at character 2'):
        parse('--cfg-options', 'a.b={: 1}')
