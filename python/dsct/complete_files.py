"""Files that are there whole or not at all, and errors that name them."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A partial file that has not been written to for this long belongs to a process that was killed.
STALE_SECONDS = 3600.0

_LONG_NAME = 200  # bytes


@contextmanager
def replaced_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path next to `path` to write to, and moves it there only if the block ends without error.

    Content and name are flushed to the disk, so that a crash afterwards leaves the new file, one before it the old. A
    killed process leaves ``.<name>.<process id>.partial``; the next write to `path` after an hour removes it. A link
    stays, and what it points to is replaced; a device or pipe takes the complete content.

    Args:
        path: the final file; its folder is created if missing.

    Yields:
        The path to write to.

    Raises:
        OSError: the file cannot be written, or is a folder; the error names it, not the temporary one.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "notes.txt"
        >>> with replaced_when_complete(file) as partial:
        ...     written = partial.write_text("all of it")
        >>> file.read_text()
        'all of it'
    """
    path = Path(path)
    if os.path.isdir(path):  # before anything is computed
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if os.path.exists(path) and not os.path.isfile(path):
        with _copied_when_complete(path) as partial:
            yield partial
        return
    make_folder_of(path)
    target = Path(os.path.realpath(path))
    _remove_stale(target)
    partial = target.with_name(f".{_short(target.name)}.{os.getpid()}.partial")
    try:
        with errors_named(path, instead_of=partial):
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, target)
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is left
            partial.unlink()
    _flush_folder(target.parent)


def make_folder_of(path: str | os.PathLike[str]) -> None:
    """Creates the folder of a file if it is missing.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be created; the error names the file.

    Example:
        >>> make_folder_of(Path(tempfile.mkdtemp()) / "new" / "notes.txt")
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"its folder cannot be created: {error.strerror}", os.fspath(path)) from error


def require_writable(path: str | os.PathLike[str]) -> None:
    """Finds out, before something is computed, whether a file could be written; nothing is left behind.

    A disk that is full later, and rights to folders that are still missing, are not found out.

    Args:
        path: the file; its folder may be missing.

    Raises:
        OSError: it is a folder, its folder may not be written to or cannot be created, or a name is too long; the error
            names the file.

    Example:
        >>> require_writable(Path(tempfile.mkdtemp()) / "new" / "notes.txt")
    """
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        return  # a device or a pipe
    target = Path(os.path.realpath(path))
    folder = target.parent
    while not os.path.lexists(folder):
        folder = folder.parent
    try:
        _require_creatable(target, folder)
    except OSError as error:
        whose = "" if target.parent.is_dir() else "its folder cannot be created: "
        raise OSError(error.errno, f"{whose}{error.strerror}", os.fspath(path)) from error


@contextmanager
def errors_named(path: str | os.PathLike[str], instead_of: Path | None = None) -> Iterator[None]:
    """Makes errors of writing name the file.

    Those in the middle of a write name none, and others the temporary file. One that names another file stays as it is.

    Args:
        path: the file to name.
        instead_of: the temporary file.

    Raises:
        OSError: whatever the block raises of this kind.

    Example:
        >>> with errors_named("notes.txt"):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device: 'notes.txt'
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (str(path), str(instead_of)):
            raise
        if error.errno is None:
            raise OSError(f"{os.fspath(path)} cannot be written: {error}") from error
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def _require_creatable(target: Path, folder: Path) -> None:
    """Raises an OSError if `target` cannot be created, of whose folders `folder` is the last one that is there."""
    if not folder.is_dir():
        code = errno.EEXIST if folder == target.parent else errno.ENOTDIR  # as of `mkdir`
        raise OSError(code, os.strerror(code))
    for parent in (*target.parents, target):
        with contextlib.suppress(FileNotFoundError):
            os.lstat(folder / parent.name)  # is the name too long?
    tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def _copied_when_complete(path: Path) -> Iterator[Path]:
    """For what is no file, such as /dev/stdout, and must not be replaced by one."""
    with tempfile.TemporaryDirectory() as folder:
        partial = Path(folder) / "complete"
        with errors_named(path, instead_of=partial):
            yield partial
            with partial.open("rb") as source, path.open("wb", buffering=0) as target:
                shutil.copyfileobj(source, target)


def _short(name: str) -> str:
    """A name that leaves room for what a temporary file adds to it; file systems take 255 bytes."""
    if len(os.fsencode(name)) <= _LONG_NAME:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    while len(os.fsencode(name)) > _LONG_NAME - len(digest):
        name = name[:-1]
    return name + digest


def _remove_stale(path: Path) -> None:
    for partial in path.parent.glob(f".{glob.escape(_short(path.name))}.*.partial"):
        with contextlib.suppress(OSError):  # another process may remove it, too, or own it
            if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                partial.unlink()


def _flush_folder(folder: Path) -> None:
    """Makes a rename durable if the system can; the file itself is complete either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
