"""One trainer works in a folder; its lock ends with it."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsct.train import Processes
from dsct.train.run_folder.lock import only_trainer
from tests.train.training_run import RECIPE, trainer

SHORT = dataclasses.replace(RECIPE, epochs=1)
#: Locks a folder, starts a process as loading starts one, and waits.
HOLDER = """
import os, sys, time
from pathlib import Path
from dsct.train import Processes
from dsct.train.run_folder.lock import only_trainer
with only_trainer(Path(sys.argv[1]), Processes(), print):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_trainer_is_refused_until_the_first_is_gone(resume: bool, tmp_path: Path) -> None:
    trainer(tmp_path / "state", SHORT).fit()
    run_dir = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(run_dir)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        if resume:
            (tmp_path / "state" / "last.pt").rename(run_dir / "last.pt")
        where = rf"in use by process {holder.pid} on {socket.gethostname()}, which trains there"
        with pytest.raises(BlockingIOError, match=where):
            trainer(run_dir, SHORT).fit(resume)
        assert not (run_dir / "config.json").exists()
        holder.kill()
        holder.wait()
        os.kill(child, 0)  # still there, and without the lock
        trainer(run_dir, SHORT).fit(resume)
    finally:
        holder.kill()
        os.kill(child, 9)
        holder.communicate()


def test_a_trainer_in_the_same_process_is_refused_and_leaves_the_lock(tmp_path: Path) -> None:
    with only_trainer(tmp_path, Processes(), print):
        with pytest.raises(BlockingIOError, match=f"this process, {os.getpid()}"):
            trainer(tmp_path, SHORT).fit()
        other = [sys.executable, "-c", "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | 4)"]
        refused = subprocess.run([*other, str(tmp_path / ".lock")], capture_output=True, text=True)
        assert "BlockingIOError" in refused.stderr
    with only_trainer(tmp_path, Processes(), print):
        pass


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    said: list[str] = []
    with only_trainer(tmp_path, Processes(), said.append):
        pass
    assert len(said) == 1
    assert "cannot be locked (No locks available)" in said[0]
