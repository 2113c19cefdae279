"""Trainings of seconds in forked processes, that a fault ends; and what a run must be in the end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.train.run_folder.signalled_run import RUN
from tests.train.training_run import assert_same_run

#: Seconds after which a training counts as hanging.
LIMIT = 120.0
#: Seconds that one process waits for the other, one that is killed before they have met.
PROCESS_TIMEOUT = 20
ARGUMENTS = [*RUN, "--set", "save_every=2", "--set", "log_every=1", "--process-timeout", str(PROCESS_TIMEOUT)]


class Fault(AssertionError):
    """A run is not what it must be."""


def start_again_with_the_library() -> None:
    """Replaces this program by itself with `file_operations.c` loaded, so that forks of it can be armed."""
    if "FAULTS_LIBRARY" in os.environ:
        return
    library = Path(tempfile.mkdtemp(prefix="dsct-faults-")) / "file_operations.so"
    source = Path(__file__).with_name("file_operations.c")
    subprocess.run(["cc", "-O1", "-w", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    changes = {"LD_PRELOAD": str(library), "FAULTS_LIBRARY": str(library), "OMP_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]], {**os.environ, **changes})


@dataclass
class Training:
    """A training in a process of its own, whose processes are one group."""

    pid: int
    output: Path
    began: float

    def wait(self) -> int:
        """The exit code, negative for a signal.

        Raises:
            Fault: it hangs; all its processes are gone then.
        """
        while time.monotonic() < self.began + LIMIT:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        self.signal_all(signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise Fault(f"hangs: {self.said()}")

    def signal_all(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def said(self) -> str:
        return self.output.read_text(errors="replace")


def train(
    run_dir: Path, *options: str, at: int = -1, full: bool = False, workers: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Training:  # fmt: skip
    """Starts a training in `run_dir`, whose file operation number `at` is a fault."""
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    output = run_dir.parent / f"said.{time.monotonic_ns()}.txt"
    pid = os.fork()
    if pid:
        return Training(pid, output, time.monotonic())
    code = 70
    try:
        os.setsid()
        os.environ.update(environment or {})
        file = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        code = _trained(
            [*ARGUMENTS, "--set", f"workers={workers}", "--run-dir", str(run_dir), *options], run_dir, at, full
        )
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _trained(arguments: list[str], run_dir: Path, at: int, full: bool) -> int:
    from dsct.cli import app

    library = ctypes.CDLL(os.environ["FAULTS_LIBRARY"])
    if at >= 0:
        library.faults_arm(str(run_dir).encode(), ctypes.c_long(at), int(full))
    try:
        app(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 71
    if at == 0:
        library.faults_count.restype = ctypes.c_long
        (run_dir.parent / "operations").write_text(str(library.faults_count()))
    return code


def two_processes() -> list[dict[str, str]]:
    """The environments of two processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]


def finished(run_dir: Path, workers: int = 0) -> str:
    """Goes on with a run to its end; what it says.

    Raises:
        Fault: it does not end well.
    """
    begun = run_dir.is_dir() and any(run_dir.iterdir())
    training = train(run_dir, *(["--resume"] if begun else []), workers=workers)
    if (code := training.wait()) != 0:
        raise Fault(f"goes on with exit code {code}: {training.said()}")
    return training.said()


def require_equal(run_dir: Path, undisturbed: Path) -> None:
    """Compares weights, optimizer, log and best weights with those of an undisturbed run.

    Raises:
        Fault: something differs, is written twice, or is left over.
    """
    try:
        assert_same_run(undisturbed, run_dir)
    except AssertionError as error:
        raise Fault(f"the run differs: {str(error)[:500]}") from error
    best = "best.safetensors"
    if (run_dir / best).read_bytes() != (undisturbed / best).read_bytes():
        raise Fault(f"{best} has other bytes")
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    for kind in ("step", "epoch"):
        numbers = [line[kind] for line in lines if line["kind"] == kind]
        if len(numbers) != len(set(numbers)):
            raise Fault(f"log.jsonl has a {kind} twice: {numbers}")
    if left := [path.name for path in run_dir.rglob("*.partial")]:
        raise Fault(f"left over: {left}")


def require_one_sentence(said: str, run_dir: Path) -> None:
    """Of a full disk.

    Raises:
        Fault: it is a traceback, or names no file of the run.
    """
    if "Traceback" in said or not re.search(rf"No space left on device.*{re.escape(str(run_dir))}", said, re.DOTALL):
        raise Fault(f"a full disk is said as: {said[-800:]}")


def moments(number: int, count: int) -> Iterator[int]:
    """`count` numbers from 1 to `number`, evenly, with both ends."""
    count = min(count, number)
    yield from sorted({1 + round(place * (number - 1) / max(count - 1, 1)) for place in range(count)})
