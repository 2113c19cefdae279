"""A copy of the project in which one mutant after the other is tried."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant

#: Besides the time that the tests take undisturbed.
START = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        noticed: by a test, the compiler, or the clock.
        by: the first failing test, or what else.
        tests: how many were asked.
        seconds: that it took.
    """

    noticed: bool
    by: str
    tests: int
    seconds: float


class Tree:
    """A copy of what git knows of the project, with the extension as it is built.

    Args:
        root: the project.
        folder: where the copy lies; an older one there is replaced.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
        extension = next((root / "python/dsct").glob("_dsct*.so")).relative_to(root)
        for name in [*filter(None, listed.stdout.split("\0")), str(extension)]:
            if (root / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name)

    def source(self, mutant: Mutant) -> str:
        """The file of the mutant as it is without it."""
        return (self.folder / mutant.file).read_text(encoding="utf-8")

    def try_out(
        self, mutant: Mutant, text: str, stages: list[list[str]], seconds: Mapping[str, float],
        build: Callable[[], str | None] | None = None, last: Callable[[], str | None] | None = None,
    ) -> Outcome:  # fmt: skip
        """Puts the mutant's text in place of the file, builds, and asks the tests; then the file is as before.

        Args:
            mutant: says where.
            text: of the whole file.
            stages: tests, asked part by part until one fails.
            seconds: that each takes undisturbed.
            build: is called before them; returns what is wrong, or None.
            last: the same, after them.
        """
        path = self.folder / mutant.file
        before, began = path.read_bytes(), time.monotonic()
        try:
            path.write_text(text, encoding="utf-8")
            by = build() if build else None
            asked = 0
            for stage in [] if by else stages:
                asked += len(stage)
                by = self._noticed_by(stage, START + 5 * sum(seconds[name] for name in stage))
                if by:
                    break
            if not by and last:
                by = last()
        finally:
            path.write_bytes(before)
        return Outcome(by is not None, by or "", asked, round(time.monotonic() - began, 1))

    def _noticed_by(self, tests: list[str], limit: float) -> str | None:
        listed = self.folder / ".asked_tests"
        listed.write_text("\n".join(tests))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"@{listed}"]
        paths = os.pathsep.join([str(self.folder / "python"), str(self.folder)])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        run = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = run.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return "the time limit"
        finally:
            end_group(run)
        if run.returncode == 0:
            return None
        failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0][:200] if failed else f"exit code {run.returncode}"


def end_group(run: subprocess.Popen[str]) -> None:
    """Ends what a program started and left behind, and the program."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
