"""History: what a search leaves on disk, and reads again."""

import json
import math

import pytest

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import History, read_history, read_known

SEARCH = {'checkpoint': 'abc', 'resolution': (16, 24), 'seed': 0}


def record(score=0.5, **kwargs):
    return {'generation': 0, 'score': score, 'metrics': {'accuracy/top1': score}, 'flops': 10, 'params': 3, **kwargs}


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'search_history.jsonl'


@pytest.fixture
def written(path, tiny_space):
    """The records of a history with two of them, on disk at ``path``."""
    history = History(path, SEARCH, resume=False)
    history.add(tiny_space.smallest, record(0.5))
    history.add(tiny_space.largest, record(0.7, generation=1))
    return history.records


def test_a_history_is_one_json_object_per_line(written, path, tiny_space):
    header, *lines = map(json.loads, path.read_text().splitlines())
    assert header == {'format': 'mmrazor_bignas search history 1', **SEARCH, 'resolution': [16, 24]}
    assert lines == [
        {**record(0.5), 'subnet': tiny_space.smallest.to_dict()},
        {**record(0.7, generation=1), 'subnet': tiny_space.largest.to_dict()},
    ]


def test_resume_reads_what_was_added(written, path, tiny_space):
    resumed = History(path, SEARCH, resume=True)
    assert resumed.records == written == read_history(path)
    assert list(resumed.records) == [tiny_space.smallest, tiny_space.largest]
    assert resumed.notes == []


def test_block_choices_are_read_back(path, per_block_space):
    subnets = list(per_block_space.enumerate())[::97]
    history = History(path, SEARCH, resume=False)
    for subnet in subnets:
        history.add(subnet, record())
    assert History(path, SEARCH, resume=True).records == history.records == dict.fromkeys(subnets, record())


def test_a_resumed_history_goes_on_in_the_same_file(written, path, tiny_space):
    subnet = next(subnet for subnet in tiny_space.enumerate() if subnet not in written)
    History(path, SEARCH, resume=True).add(subnet, record(0.6))
    assert read_history(path) == {**written, subnet: record(0.6)}


@pytest.mark.parametrize('score', [1, math.nan, -math.inf])
def test_what_was_added_can_be_resumed(path, tiny_space, score):
    """A candidate whose metric is no finite number is a bad one, not a broken file."""
    History(path, SEARCH, resume=False).add(tiny_space.smallest, record(score))
    assert str(History(path, SEARCH, resume=True).records) == str({tiny_space.smallest: record(score)})
    assert list(read_history(path)) == [tiny_space.smallest]


@pytest.mark.parametrize('content', [None, b''])
def test_resume_without_records_begins(path, content):
    if content is not None:
        path.write_bytes(content)
    assert History(path, SEARCH, resume=True).records == {}
    assert History(path, SEARCH, resume=True).notes == []


def test_records_are_on_disk_when_added(path, tiny_space):
    history = History(path, SEARCH, resume=False)
    for count, subnet in enumerate([tiny_space.smallest, tiny_space.largest], 1):
        history.add(subnet, record())
        assert len(read_history(path)) == count


def test_without_resume_earlier_files_move_aside(written, path, tiny_space):
    first = path.read_bytes()
    second = History(path, SEARCH, resume=False)
    assert second.records == {}
    assert 'search_history.jsonl.1;' in second.notes[0]
    assert '--resume' in second.notes[0]
    assert path.read_bytes() == first  # a search that fails before its first record leaves it there
    second.add(tiny_space.largest, record(0.9))
    third = History(path, SEARCH, resume=False)
    third.add(tiny_space.smallest, record(0.7))
    third.add(tiny_space.largest, record(0.8))
    assert path.with_name('search_history.jsonl.1').read_bytes() == first
    assert read_history(path.with_name('search_history.jsonl.2')) == {tiny_space.largest: record(0.9)}
    assert read_history(path) == {tiny_space.smallest: record(0.7), tiny_space.largest: record(0.8)}


# Cut off while writing


@pytest.mark.parametrize('kept', [1, 20, -1])
def test_a_half_written_last_line_is_dropped(written, path, tiny_space, kept):
    content = path.read_bytes()
    whole, last = content[: content.rindex(b'{"generation": 1')], content[content.rindex(b'{"generation": 1') :]
    path.write_bytes(whole + last[:kept])
    resumed = History(path, SEARCH, resume=True)
    assert path.read_bytes() == whole
    assert list(resumed.records) == [tiny_space.smallest]
    assert 'dropped a half-written last line' in resumed.notes[0]
    resumed.add(tiny_space.largest, record(0.7, generation=1))
    assert path.read_bytes() == content


def test_a_half_written_first_line_is_written_anew(path):
    History(path, SEARCH, resume=False)
    header = path.read_bytes()
    path.write_bytes(header[:20])
    assert History(path, SEARCH, resume=True).records == {}
    assert path.read_bytes() == header


def test_a_running_search_can_be_looked_at(written, path):
    with open(path, 'a') as file:
        file.write('{"generation": 2, "sco')
    assert read_history(path) == written


# Another search, another file


@pytest.mark.parametrize('half', [b'', b'{"generation": 2, "sco'])
@pytest.mark.parametrize(
    ('search', 'differing'),
    [
        ({**SEARCH, 'checkpoint': 'xyz', 'seed': 1}, ['checkpoint', 'seed']),
        ({**SEARCH, 'metric': 'top5'}, ['metric']),
        ({'checkpoint': 'abc', 'seed': 0}, ['resolution']),
    ],
)
def test_the_history_of_another_search_is_refused_and_left_alone(written, path, search, differing, half):
    content = path.read_bytes() + half
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        History(path, search, resume=True)
    assert str(error.value).startswith(f'{path}: the history of another search: {differing} differ')
    assert path.read_bytes() == content


def resume(path):
    return History(path, SEARCH, resume=True).records


@pytest.mark.parametrize('content', [b'a note\n', b'a note', b'\xff\xfe\n', b'[1]\n', b'{"checkpoint": "abc"}\n'])
@pytest.mark.parametrize('read', [resume, read_history])
def test_a_file_that_is_no_history_is_refused_and_left_alone(path, read, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'search_history\.jsonl'):
        read(path)
    assert path.read_bytes() == content


def insert_line_3(path, line):
    header, first, last = path.read_text().splitlines()
    path.write_text('\n'.join([header, first, line, last]) + '\n')


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('a note', 'no JSON'),
        ('', 'no JSON'),
        ('[1]', 'expected a JSON object'),
        ('null', 'expected a JSON object'),
        ('{"score": 1, "score": 2}', "the key 'score' is given twice"),
        ('[' * 20_000, 'nested more than 50 levels deep'),
        ('{"score": 1}', 'expected a mapping with the genes'),
    ],
    ids=lambda it: it[:30],
)
@pytest.mark.parametrize('read', [resume, read_history])
def test_a_foreign_line_is_named(written, path, read, line, message):
    insert_line_3(path, line)
    with pytest.raises(InputError, match=rf'search_history\.jsonl, line 3: .*{message}'):
        read(path)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('subnet', {'resolution': 16}, "missing gene 'width'"),
        *(('score', value, '"score"') for value in ('good', None, True)),
        ('flops', 'many', '"flops"'),
        ('params', None, '"params"'),
        ('latency', 'fast', '"latency" is .fast.; expected a number'),
        ('metrics', 'good', '"metrics" is .good.; expected an object'),
        *(('generation', value, '"generation" is .*; expected an integer') for value in (-2, 10**30, 1.5, True, None)),
    ],
)
@pytest.mark.parametrize('read', [resume, read_history])
def test_a_broken_record_is_named(written, path, tiny_space, read, key, value, message):
    insert_line_3(path, json.dumps({**record(), 'subnet': tiny_space.smallest.to_dict(), key: value}))
    with pytest.raises(InputError, match=rf'search_history\.jsonl, line 3: .*{message}'):
        read(path)


def test_a_missing_history_is_named(path):
    with pytest.raises(InputError, match=r'search_history\.jsonl: no such history'):
        read_history(path)


# Taking over


def test_what_an_earlier_search_knows_is_taken_over(written, path, tiny_space, tmp_path):
    known = read_history(path)
    other = History(tmp_path / 'other.jsonl', SEARCH, resume=False)
    other.take_over(path, read_known(path, SEARCH))
    assert {s: {**r, 'generation': None} for s, r in other.records.items()} == {
        s: {**r, 'generation': None} for s, r in known.items()
    }
    assert {record['generation'] for record in other.records.values()} == {-1}
    assert other.notes == [f'took over {len(known)} candidates from {path}']
    other.take_over(path, read_known(path, SEARCH))
    assert len(read_history(tmp_path / 'other.jsonl')) == len(known)


def test_failures_are_not_taken_over(path, tiny_space, tmp_path):
    earlier = History(path, SEARCH, resume=False)
    earlier.add(tiny_space.smallest, {'generation': 0, 'score': 1.0, 'flops': 1, 'params': 1})
    earlier.add(tiny_space.largest, {'generation': 0, 'score': math.nan, 'flops': 1, 'params': 1, 'error': 'memory'})
    other = History(tmp_path / 'other.jsonl', SEARCH, resume=False)
    other.take_over(path, read_known(path, SEARCH))
    assert list(other.records) == [tiny_space.smallest]


def test_the_scores_of_another_checkpoint_are_not_taken_over(written, path):
    with pytest.raises(InputError, match=r"the history of another search: \['checkpoint'\] differ; name a history"):
        read_known(path, {**SEARCH, 'checkpoint': 'another'})
