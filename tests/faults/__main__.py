"""Ends trainings by faults and compares what they become with undisturbed ones: ``python -m tests.faults``."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import runs
from tests.faults.runs import Fault, finished, moments, require_equal, require_one_sentence, train

#: At the end of a run nothing more is written: files are closed, moved and unlocked.
LAST_OPERATIONS = 5


class Cases:
    """All kinds of faults, on runs in one folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random, self.number = folder, random.Random(seed), 0
        self.faults: list[str] = []
        self.undisturbed = folder / "undisturbed" / "run"
        began = time.monotonic()
        counted = train(self.undisturbed, at=0)
        if code := counted.wait():
            raise Fault(f"the undisturbed run ended with {code}: {counted.said()}")
        self.seconds = time.monotonic() - began
        self.operations = int((self.undisturbed.parent / "operations").read_text())

    def case(self, name: str, body: Callable[[Path], None]) -> None:
        self.number += 1
        place = self.folder / f"case{self.number}"
        began = time.monotonic()
        try:
            body(place / "run")
            said = "ok"
        except Fault as fault:
            said = f"FAULT: {fault}"
            self.faults.append(f"{name}: {fault}")
        print(f"{name:60} {time.monotonic() - began:5.1f} s  {said}", flush=True)
        shutil.rmtree(place, ignore_errors=True)

    def kills(self, count: int) -> None:
        """`kill -9` of all processes at any moment, half of them a second time while the run goes on."""
        for number in range(count):
            workers, again = number % 3 and 1, number % 2
            delays = [self.random.uniform(0, 1.3 * self.seconds) for _ in range(1 + again)]

            def body(run_dir: Path, workers: int = workers, delays: list[float] = delays) -> None:
                for delay in delays:
                    begun = run_dir.is_dir() and any(run_dir.iterdir())
                    training = train(run_dir, *(["--resume"] if begun else []), workers=workers)
                    time.sleep(delay)
                    training.signal_all(signal.SIGKILL)
                    training.wait()
                finished(run_dir, workers)
                require_equal(run_dir, self.undisturbed)

            shown = ", ".join(f"{delay:.2f}" for delay in delays)
            self.case(f"kill -9 after {shown} s, {workers} loading processes", body)

    def kills_at_operations(self, count: int) -> None:
        """A kill at a file operation of the run; half of what is being written is there."""
        for at in moments(self.operations, count or self.operations):

            def body(run_dir: Path, at: int = at) -> None:
                code = train(run_dir, at=at).wait()
                if code != -signal.SIGKILL:
                    raise Fault(f"was not killed, exit code {code}")
                finished(run_dir)
                require_equal(run_dir, self.undisturbed)

            self.case(f"kill -9 at file operation {at} of {self.operations}", body)

    def full_disks(self, count: int) -> None:
        """No space from a file operation on; later there is space again."""
        for at in moments(self.operations, count):

            def body(run_dir: Path, at: int = at) -> None:
                training = train(run_dir, at=at, full=True)
                if code := training.wait():
                    if code != 1:
                        raise Fault(f"exit code {code}: {training.said()}")
                    require_one_sentence(training.said(), run_dir)
                    finished(run_dir)
                elif at <= self.operations - LAST_OPERATIONS:
                    raise Fault("was not noticed")
                require_equal(run_dir, self.undisturbed)

            self.case(f"no space from file operation {at} of {self.operations}", body)

    def two_processes(self, count: int) -> None:
        """Of two processes that train together one is killed, or both are asked to stop."""
        reference = self.folder / "two" / "run"
        self._together(reference)
        for number in range(count):
            delay, victim = self.random.uniform(0.2, 1.2 * self.seconds), number % 3

            def body(run_dir: Path, delay: float = delay, victim: int = victim) -> None:
                trainings = [train(run_dir, environment=each) for each in runs.two_processes()]
                time.sleep(delay)
                if victim == 2:
                    for training in trainings:
                        training.signal_all(signal.SIGTERM)
                else:
                    trainings[victim].signal_all(signal.SIGKILL)
                until = time.monotonic() + runs.PROCESS_TIMEOUT + 10
                codes = [training.wait() for training in trainings]
                if time.monotonic() > until:
                    raise Fault(f"the other process did not end, exit codes {codes}")
                if said := [training.said() for training in trainings if "Traceback" in training.said()]:
                    raise Fault(f"a lost process is no sentence: {said[0]}")
                self._together(run_dir)
                require_equal(run_dir, reference)

            what = ("the first is killed", "the second is killed", "both are asked to stop")[victim]
            self.case(f"two processes, {what} after {delay:.2f} s", body)

    def _together(self, run_dir: Path) -> None:
        begun = run_dir.is_dir() and any(run_dir.iterdir())
        options = ["--resume"] if begun else []
        trainings = [train(run_dir, *options, environment=each) for each in runs.two_processes()]
        codes = [training.wait() for training in trainings]
        if any(codes):
            raise Fault(f"exit codes {codes}: {trainings[0].said()} {trainings[1].said()}")


KINDS = {"kills": 100, "operations": 0, "disk": 30, "ranks": 20}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", choices=KINDS, action="append", help="kinds of faults; by default all")
    parser.add_argument("--count", type=int, help="cases of each kind; by default 100, every operation, 30 and 20")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    runs.start_again_with_the_library()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dsct-faults-") as folder:
        cases = Cases(Path(folder), options.seed)
        print(f"an undisturbed run takes {cases.seconds:.1f} s and {cases.operations} file operations", flush=True)
        run = {
            "kills": cases.kills, "operations": cases.kills_at_operations, "disk": cases.full_disks,
            "ranks": cases.two_processes,
        }  # fmt: skip
        for kind in options.only or KINDS:
            run[kind](KINDS[kind] if options.count is None else options.count)
        print(f"{cases.number} cases, {len(cases.faults)} faults, {time.monotonic() - began:.0f} s")
        for fault in cases.faults:
            print(f"FAULT {fault}")
    raise SystemExit(bool(cases.faults))


if __name__ == "__main__":
    main()
