"""One trainer works in a folder at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dsct.train.processes.distributed import Processes

LOCK = ".lock"

#: Folders in which this process trains, and the files that it locked: it is not locked out by its own lock.
_HELD: dict[Path, BinaryIO] = {}


@contextmanager
def only_trainer(run_dir: Path, processes: Processes, say: Callable[[str], None]) -> Iterator[None]:
    """Keeps other trainers out of a folder inside the block. All processes enter it; the main one holds the lock.

    The lock belongs to the process and ends with it, however it ends: there are no stale ones. It is a POSIX record
    lock, which loading processes do not inherit and which NFS passes to its server.

    Args:
        run_dir: the folder, created if missing.
        processes: that train together.
        say: is told if the file system has no locks.

    Raises:
        BlockingIOError: another trainer works there; the message names its process and machine.
        OSError: the folder cannot be written.
    """
    held: BinaryIO | None = None
    place = run_dir.resolve()
    with processes.fail_together():
        if processes.is_main:
            held = _lock(run_dir, place, say)
    try:
        yield
    finally:
        if held is not None:
            _HELD.pop(place, None)
            held.close()


def require_lock(run_dir: Path) -> None:
    """Before everything that a trainer writes: its lock is worth nothing once somebody deleted the file.

    Nothing is required in a folder that this process has not locked.

    Args:
        run_dir: the folder.

    Raises:
        BlockingIOError: the file that this process locked is no longer the one that others would find locked.
    """
    held = _HELD.get(run_dir.resolve())
    if held is not None and not _is_at(run_dir / LOCK, held):
        raise BlockingIOError(
            f"{run_dir / LOCK} was deleted or replaced while this process trained there: another trainer may be at "
            "work in the folder, so nothing more is written to it; see that there is none, and go on with --resume"
        )


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            return False
        raise


def _lock(run_dir: Path, place: Path, say: Callable[[str], None]) -> BinaryIO:
    run_dir.mkdir(parents=True, exist_ok=True)
    if place in _HELD:  # opening and closing the file would drop the lock
        raise BlockingIOError(_refusal(run_dir, f"this process, {os.getpid()}"))
    file = (run_dir / LOCK).open("ab+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip("\0 \n")
            file.close()
            raise BlockingIOError(_refusal(run_dir, holder or "another process")) from None
        say(f"note: {run_dir / LOCK} cannot be locked ({error.strerror}): see to it that no other trainer works there")
    _HELD[place] = file
    try:
        require_lock(run_dir)  # somebody may have deleted it since it was opened
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
    except OSError as error:
        del _HELD[place]
        if error.errno is not None:
            error.filename = str(run_dir / LOCK)
        raise
    return file


def _refusal(run_dir: Path, holder: str) -> str:
    return f"{run_dir} is in use by {holder}, which trains there: wait for its end, or choose another --run-dir"
