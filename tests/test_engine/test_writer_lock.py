"""One writer of a folder."""

import errno
import fcntl
import json
import os
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from mmrazor_bignas.engine import writer_lock
from mmrazor_bignas.engine.writer_lock import NAME, one_writer
from mmrazor_bignas.errors import InputError

REFUSED = re.escape(f'process {os.getpid()} on {socket.gethostname()} (since 20')


@pytest.fixture(autouse=True)
def _no_job(monkeypatch):
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)
    monkeypatch.delenv('SLURM_RESTART_COUNT', raising=False)


def files(folder) -> dict:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def refused(folder, match: str = REFUSED) -> None:
    with pytest.raises(InputError, match=match), one_writer(folder):
        pytest.fail('not refused')


def test_a_second_writer_is_refused_and_changes_nothing(tmp_path):
    folder = tmp_path / 'new/folder'
    with one_writer(folder) as lock:
        assert lock.notes == []
        before = files(folder)
        refused(folder)
        refused(folder)  # the first refusal has not released it
        assert files(folder) == before
        with one_writer(tmp_path / 'new'):
            pass
    with one_writer(folder):
        pass


def test_an_error_releases_it(tmp_path):
    with pytest.raises(KeyError), one_writer(tmp_path):
        raise KeyError
    with one_writer(tmp_path):
        pass


def test_a_killed_holder_releases_it_though_what_it_forked_lives_on(tmp_path):
    read, write = os.pipe()
    if (holder := os.fork()) == 0:
        with one_writer(tmp_path):
            if (child := os.fork()) == 0:
                os.write(write, b'child forked')  # has let go before
                time.sleep(60)
                os._exit(0)
            os.write(write, b'%20d' % child)
            time.sleep(60)
        os._exit(0)
    said = b''
    while len(said) < 32:
        said += os.read(read, 32)
    child = int(said.replace(b'child forked', b''))
    refused(tmp_path, f'process {holder} on ')
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with one_writer(tmp_path):
        os.kill(child, 0)  # is there
    os.kill(child, signal.SIGKILL)


def test_a_forked_process_that_leaves_neither_releases_it_nor_closes_what_is_its_own(tmp_path):
    child, code = None, 1
    try:
        with one_writer(tmp_path) as lock:
            if (child := os.fork()) == 0:
                os.dup2(1, lock.descriptor)
                return
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            refused(tmp_path)
    finally:
        if child == 0:
            with suppress(OSError):
                os.fstat(lock.descriptor)
                code = 0
            os._exit(code)


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', flock)
    with one_writer(tmp_path) as lock:
        (note,) = lock.notes
        assert note.startswith(f'{tmp_path}: this file system has no locks ({os.strerror(number)})')


@pytest.mark.parametrize('number', [errno.EAGAIN, errno.EACCES])
def test_what_file_systems_say_of_a_lock_that_is_held(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', flock)
    refused(tmp_path, 'another process, or what it started, writes here')


@pytest.mark.parametrize('content', [b'', b'{', b'[1]', b'{"pid": 1}', b'\xff'])
def test_a_holder_that_cannot_be_read_still_holds(tmp_path, content):
    with one_writer(tmp_path):
        (tmp_path / NAME).write_bytes(content)
        refused(tmp_path, 'another process, or what it started, writes here')


@pytest.mark.parametrize('place', ['file', 'file/below', '/proc/none'])
def test_a_folder_that_cannot_be_written(tmp_path, place):
    (tmp_path / 'file').write_text('')
    refused(tmp_path / place, 'cannot be written')


class Job:
    """What SLURM says of a job."""

    def __init__(self, monkeypatch, job: str, restarts: int) -> None:
        monkeypatch.setenv('SLURM_JOB_ID', job)
        monkeypatch.setenv('SLURM_RESTART_COUNT', str(restarts))


def test_a_requeued_job_waits_for_its_earlier_start(tmp_path, monkeypatch, capsys):
    Job(monkeypatch, '7', 0)
    with ExitStack() as earlier:
        earlier.enter_context(one_writer(tmp_path))
        Job(monkeypatch, '7', 1)
        timer = threading.Timer(0.2, earlier.close)
        timer.start()
        with one_writer(tmp_path):
            assert json.loads((tmp_path / NAME).read_text())['restarts'] == 1
        timer.join()
    assert re.search(r'waiting for process \d+ on \S+, SLURM job 7 \(since ', capsys.readouterr().out)


@pytest.mark.parametrize(('job', 'restarts'), [('7', 1), ('7', 0), ('8', 2)])
def test_a_job_does_not_wait_for_others(tmp_path, monkeypatch, job, restarts):
    """As two steps of one job, and two jobs, are."""
    Job(monkeypatch, '7', 1)
    with one_writer(tmp_path):
        Job(monkeypatch, job, restarts)
        refused(tmp_path, 'SLURM job 7 ')


def test_a_requeued_job_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_lock, 'PATIENCE_SECONDS', 0.1)
    Job(monkeypatch, '7', 0)
    with one_writer(tmp_path):
        Job(monkeypatch, '7', 1)
        refused(tmp_path, 'SLURM job 7 ')
