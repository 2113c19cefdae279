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

import dsct
from dsct.train import Processes
from dsct.train.run_folder.lock import only_trainer
from tests.train.training_run import MODEL, RECIPE, trainer

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


class Meddling:
    """A criterion at whose call number `at` somebody does something to the lock."""

    def __init__(self, at: int, action: Any) -> None:
        self.criterion, self.at, self.action, self.calls = dsct.SetCriterion(MODEL), at, action, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self.at:
            self.action()
        return self.criterion(*arguments, **options)

    def total(self, losses: Any) -> Any:
        return self.criterion.total(losses)


# Calls 1 to 4 are steps, 5 and 6 are in validation; without step lines the next write is that of a state or weights.
@pytest.mark.parametrize(("at", "log_every"), [(2, 1), (2, 1000), (5, 1000)], ids=["log", "state", "weights"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_trainer_whose_lock_was_deleted_writes_no_more(
    at: int, log_every: int, replaced: bool, tmp_path: Path
) -> None:
    files: dict[str, int] = {}

    def meddle() -> None:
        (tmp_path / ".lock").unlink()
        if replaced:
            (tmp_path / ".lock").touch()
        files.update({path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != ".lock"})

    recipe = dataclasses.replace(SHORT, log_every=log_every, save_every=0)
    with pytest.raises(BlockingIOError, match=r"\.lock was deleted or replaced while this process trained"):
        trainer(tmp_path, recipe, Meddling(at, meddle), callbacks=[]).fit()
    left = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != ".lock"}
    assert left == files
    trainer(tmp_path, recipe, callbacks=[]).fit(resume=True)
    with only_trainer(tmp_path, Processes(), print):
        pass
