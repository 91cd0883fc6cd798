"""Files are written whole or not at all."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.runner import save_checkpoint

from mmrazor_bignas.engine.checkpoints import save_atomically
from mmrazor_bignas.engine.signals import Stopped, raised_signals
from mmrazor_bignas.engine.storage import TEMPORARY, full_disk_named, write_atomically
from mmrazor_bignas.errors import StorageError


def full(_file):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / 'new folder/file'
    write_atomically(path, lambda file: file.write(b'old'))
    with pytest.raises(StorageError, match=f'{path}: could not be written: No space left'):
        write_atomically(path, full)
    with pytest.raises(KeyError):
        write_atomically(path, lambda file: {}['bug'])
    assert path.read_bytes() == b'old'
    assert os.listdir(path.parent) == ['file']


def test_a_signal_in_the_middle_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / 'file'
    write_atomically(path, lambda file: file.write(b'old'))

    def write(file):
        file.write(b'half')
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped), raised_signals():
        write_atomically(path, write)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_a_half_written_file_of_a_killed_run_is_no_hindrance(tmp_path):
    (tmp_path / TEMPORARY.format('file')).write_bytes(b'longer than what comes now')
    write_atomically(tmp_path / 'file', lambda file: file.write(b'new'))
    assert (tmp_path / 'file').read_bytes() == b'new'
    assert os.listdir(tmp_path) == ['file']


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match='file/below'):
        write_atomically(tmp_path / 'file/below', lambda file: file.write(b''))


def test_what_mmengine_saves_is_renamed_into_place(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    save_checkpoint({'x': 1}, str(path))
    monkeypatch.setattr(os, 'replace', lambda *_: full(None))
    with pytest.raises(StorageError):
        save_checkpoint({'x': 2}, str(path))
    assert torch.load(path) == {'x': 1}


@pytest.mark.parametrize('save', [save_atomically, lambda content, path: save_checkpoint(content, str(path))])
def test_a_full_disk_keeps_the_earlier_checkpoint_and_is_named(small_disk, save):
    first, second = small_disk / 'epoch_1.pth', small_disk / 'epoch_2.pth'
    content = {'state_dict': {'weight': torch.arange(150_000.0)}}
    save(content, first)
    for path in (second, first):
        with pytest.raises(StorageError, match=str(path)):
            save(content, path)
    torch.testing.assert_close(torch.load(first)['state_dict']['weight'], content['state_dict']['weight'])
    assert os.listdir(small_disk) == ['epoch_1.pth']


def test_a_nameless_error_gets_the_folder():
    with pytest.raises(StorageError, match=r'^work: No space left'), full_disk_named('work'):
        full(None)
    with pytest.raises(FileNotFoundError), full_disk_named('work'):
        Path('/nowhere/at/all').read_text()


def test_an_error_that_names_its_file_keeps_the_name():
    with pytest.raises(StorageError, match=r'^a: untouched$'), full_disk_named('work'):
        raise StorageError('a: untouched')
    with pytest.raises(StorageError, match=r'^log: No space left'), full_disk_named('work'):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'log')
