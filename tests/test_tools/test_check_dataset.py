"""The command check: what it finds, and its exit code."""

import numpy as np
import pytest
from image_folders import BROKEN, config_of, encoded, make_folders, picture, truncate
from PIL import Image

from mmrazor_bignas.commands import check_dataset
from mmrazor_bignas.errors import InputError


@pytest.fixture
def data(tmp_path):
    make_folders(tmp_path / 'data/train', {'a': 4, 'b': 4})
    make_folders(tmp_path / 'data/val', {'a': 2, 'b': 2}, 50)
    return tmp_path / 'data'


@pytest.fixture
def check(data, capsys):
    """A function that runs the tool on the data; what it prints and its error, if there is one."""

    def run(*words, num_classes=None, extra='') -> tuple[str, str]:
        config = config_of(data, num_classes, extra=extra)
        error = ''
        try:
            check_dataset.main(check_dataset.build_parser().parse_args([str(config), *map(str, words)]))
        except InputError as problem:
            error = str(problem)
        return capsys.readouterr().out, error

    return run


@pytest.mark.parametrize('workers', [0, 1])
def test_a_sound_data_set(check, data, workers):
    (data / 'val/b/00.jpeg').write_bytes(encoded(picture(99, (30, 50)).convert('L')))
    out, error = check('--workers', workers)
    assert error == ''
    train, val = out.split('val: ')
    assert '8 sound images' in train
    assert 'height: 20 / 20 / 20 pixels' in train
    assert 'kinds: 8 RGB JPEG' in train
    assert 'images per class: 4 / 4 / 4' in train
    assert 'height: 20 / 20 / 30 pixels' in val
    assert 'width: 24 / 24 / 50 pixels' in val
    assert 'kinds: 3 RGB JPEG, 1 L JPEG' in val
    assert 'twice in a part: 0' in val
    assert 'unusable' not in out


def test_every_broken_file_is_named(check, data, tmp_path):
    listed = ('truncated', 'half a PNG', 'no image', 'empty')  # the others are in no folder's list of files
    expected = []
    for kind, path in zip(listed, make_folders(data / 'train/b', {'more': len(listed)}, 100), strict=True):
        spoil, reason = BROKEN[kind]
        spoil(path)
        expected.append(f'{path}: {reason}')
    out, error = check('--out', tmp_path / 'all.txt')
    assert error.endswith(f'training.py: {len(expected)} problems, which are named above')
    assert (tmp_path / 'all.txt').read_text().splitlines() == expected
    assert all(line in out for line in expected)


def test_a_jpeg_whose_end_was_never_written(check, data):
    path = data / 'train/a/00.jpeg'
    content = encoded(Image.fromarray(np.random.RandomState(0).randint(0, 255, (200, 200, 3), dtype=np.uint8)))
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
    out, error = check()
    assert f'{path}: its end is missing, a part is grey' in out
    assert '1 problems' in error


def test_sixteen_bits_that_pillow_cuts_off(check, data):
    path = data / 'train/a/00.png'
    path.write_bytes(encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16)), 'PNG'))
    assert check()[1] == ''
    steps = "[dict(type='LoadImageFromFile', imdecode_backend='pillow'), dict(type='PackClsInputs')]"
    out, error = check('--part', 'train', extra=f'_train_set.update(pipeline={steps})')
    assert f'{path}: pillow cuts its pixels (I;16, of more than 8 bits) off at 255' in out
    assert error


def test_the_same_picture_twice(check, data):
    (data / 'train/b/00.jpeg').write_bytes((data / 'train/a/00.jpeg').read_bytes())
    (data / 'val/b/01.jpeg').write_bytes((data / 'train/a/03.jpeg').read_bytes())
    out, error = check()
    assert error == ''
    within, across = out.split('the same pixels twice in a part: ')[1].split('the same pixels in several parts')
    assert within.startswith('1\n')
    assert f'train {data}/train/a/00.jpeg (class 0) = train {data}/train/b/00.jpeg (class 1)' in within
    assert f'train {data}/train/a/03.jpeg (class 0) = val {data}/val/b/01.jpeg (class 1)' in across


def test_a_picture_that_is_everywhere(check, data, tmp_path):
    for path in (data / 'train/a').iterdir():
        for name in ('1', '2'):
            (data / f'train/b/{path.stem}{name}.jpeg').write_bytes((data / 'train/a/00.jpeg').read_bytes())
    out, _ = check('--out', tmp_path / 'all.txt')
    assert 'twice in a part: 1\n' in out
    assert 'and 5 more' in out
    (line,) = (tmp_path / 'all.txt').read_text().splitlines()
    assert line.count(' = ') == 8


def test_labels_and_empty_classes(check, data):
    (data / 'val/b/00.jpeg').unlink()
    (data / 'val/b/01.jpeg').unlink()
    out, error = check()
    assert error == ''  # of the validation, they are worth a note
    assert '1 classes without an image: b' in out
    for path in (data / 'train/b').iterdir():
        truncate(path)
    out, error = check('--part', 'train')
    assert '1 of 2 classes have no image' in out
    assert '5 problems' in error
    (data / 'list.txt').write_text('a/00.jpeg 0\na/01.jpeg 9\n')
    listed = "_train_set.update(ann_file='list.txt')"
    out, error = check('--part', 'train', num_classes=2, extra=listed)
    assert 'a/01.jpeg: its label is 9; the head has the classes 0 to 1' in out
    assert error


def test_bad_input(check):
    assert '--part test: ' in check('--part', 'test')[1]
    assert '--workers -1: expected 0 or more' in check('--workers', -1)[1]
