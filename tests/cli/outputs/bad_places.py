"""Places to which nothing can be written: a full disk, a folder that may only be read, also for root."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_VERSION_3 = 0x20080522  # of the calls for capabilities
_DAC_OVERRIDE = 1 << 1  # to write what file modes forbid


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may become larger than `room` bytes; the error is "File too large"."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # Python would keep torn files of modules
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = written


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be created in a folder of one's own."""
    mode = folder.stat().st_mode
    folder.chmod(0o555)
    try:
        with _without_override():
            if os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                pytest.skip("this user may write everywhere")
            yield
    finally:
        folder.chmod(mode)


@contextmanager
def _without_override() -> Iterator[None]:
    """Root obeys the modes of its files, in this thread."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    before, after = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    libc.capget(head, before)
    after[:] = before[:]
    after[0] &= ~_DAC_OVERRIDE
    libc.capset(head, after)
    try:
        yield
    finally:
        libc.capset(head, before)
