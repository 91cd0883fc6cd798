"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, register_backend

from mmrazor_bignas.errors import InputError, StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TEMPORARY = '.{}.tmp'


def probe(folder: str | os.PathLike, option: str) -> None:
    """Make a folder and see that files can be written there, before hours go into their content.

    Raises:
        InputError: They cannot; names the option, with its value, that asked for it.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        file = Path(folder) / f'.writable-{os.getpid()}'
        file.write_bytes(bytes(4096))
        file.unlink()
    except OSError as error:
        raise InputError(f'{option}: cannot be written: {error.strerror}') from error


def check_target(path: str | os.PathLike, name: str, source: str | os.PathLike | None = None) -> None:
    """See that a file may be written in a place.

    Args:
        path: The file, which may exist.
        name: How the message calls it.
        source: The file that it is made from.

    Raises:
        InputError: There is something that is no regular file, or it is the source.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f'{name}: {"is a folder" if path.is_dir() else "is no regular file"}; name a file to write')
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise InputError(f'{name}: is what is read; name another file to write')


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> None:
    """Write under a temporary name, flush to disk, rename: a reader sees the old file or the new one.

    Raises:
        StorageError: The disk is full or the folder cannot be written; an older file of this name is untouched.
    """
    path = Path(path)
    temporary = path.with_name(TEMPORARY.format(path.name))
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, 'wb') as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _flush_folder(path.parent)


@register_backend('local', prefixes='', force=True)
class AtomicLocalBackend(LocalBackend):
    """mmengine's local files; what mmengine saves through it, checkpoints above all, is written atomically."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see :func:`write_atomically`."""
        write_atomically(filepath, lambda file: file.write(obj))


@contextmanager
def full_disk_named(folder: str | os.PathLike) -> Iterator[None]:
    """Name a folder where an error of a full disk names no file, as that of a write to an open one.

    Raises:
        StorageError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorageError(f'{error.filename or folder}: {error.strerror}') from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f'{path}: could not be written: {error.strerror or error}; files that were there before are untouched'
        ) from error
    except RuntimeError as error:  # what torch.save makes of a failed write
        if 'PytorchStreamWriter' not in str(error) and 'unexpected pos' not in str(error):
            raise
        raise StorageError(f'{path}: could not be written, is the disk full? Earlier files are untouched') from error


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a crash of the machine, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
