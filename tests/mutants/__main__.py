"""Changes one place of the sources at a time and sees whether a test fails: ``python -m tests.mutants``."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from tests.mutants import python_mutants, rust_mutants
from tests.mutants.covering import Covering
from tests.mutants.mutant import Mutant, sample
from tests.mutants.trial import Outcome, Tree

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "target/mutants"
LINES = FOLDER / "lines"
UNMEASURED = ("bench", "faults", "mutants", "reference", "__pycache__")
#: Pytest's exit code.
NO_TESTS = 5
REASONS = Path(__file__).with_name("survivors.json")


class Record:
    """What became of the mutants so far, in a file to which each is added as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, Lock()
        self.outcomes: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self.outcomes = {line["key"]: line for line in map(json.loads, path.read_text().splitlines())}

    def add(self, key: str, outcome: Outcome, was: str, became: str) -> None:
        line = {"key": key, **dataclasses.asdict(outcome), "was": was, "became": became}
        with self.lock:
            self.outcomes[key] = line
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{'noticed ' if outcome.noticed else 'SURVIVED'} {outcome.seconds:6.1f} s  {key}", flush=True)


class PythonTrials:
    """Mutants of the package, each asked of the tests that run its line."""

    mutants, mutated = staticmethod(python_mutants.mutants), staticmethod(python_mutants.mutated)

    def __init__(self, covering: Covering, number: int) -> None:
        self.covering, self.tree = covering, Tree(ROOT, FOLDER / f"python{number}")

    def try_out(self, mutant: Mutant, source: str, text: str) -> Outcome:
        lines = statement_lines(source, mutant.start.line)
        stages = self.covering.stages(self.covering.tests(mutant.file, lines))
        return self.tree.try_out(mutant, text, stages, self.covering.seconds)


class RustTrials:
    """Mutants of the core, each compiled and asked of the tests that reach its file, then of Rust's own."""

    mutants, mutated = staticmethod(rust_mutants.mutants), staticmethod(rust_mutants.mutated)

    def __init__(self, covering: Covering, number: int) -> None:
        self.covering, self.tree = covering, Tree(ROOT, FOLDER / f"rust{number}")
        target = FOLDER / f"rust{number}.target"
        self.builds = rust_mutants.Builds(self.tree.folder, target, ROOT / "target")
        if wrong := self.builds.extension():
            raise RuntimeError(f"the core without a mutant {wrong}")

    def try_out(self, mutant: Mutant, source: str, text: str) -> Outcome:
        stages = self.covering.stages(rust_mutants.tests(self.covering, mutant.file))
        return self.tree.try_out(
            mutant, text, stages, self.covering.seconds, self.builds.extension, self.builds.rust_tests
        )


LANGUAGES = {"python": PythonTrials, "rust": RustTrials}


def statement_lines(source: str, line: int) -> range:
    """The lines of the innermost statement around a line; of one with a body, those before the body.

    The head of a function is run by the import; what it changes is seen where its body runs: for it, the body.
    """
    best = range(line, line + 1)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            head = [node, *getattr(node, "decorator_list", [])]
            first = min(each.lineno for each in head)
            if isinstance(node, ast.FunctionDef) and first <= line < node.body[0].lineno:
                return range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
            if node.lineno <= line <= last:
                best = range(node.lineno, last + 1)
    return best


def measure() -> None:
    """Runs the tests once, folder by folder, and records which run which lines; goes on where it was stopped."""
    folders = [path for path in sorted((ROOT / "tests").iterdir()) if path.is_dir() and path.name not in UNMEASURED]
    for folder in [ROOT / "python/dsct", *folders]:
        place = LINES / folder.name
        if (place / "done").exists():
            continue
        shutil.rmtree(place, ignore_errors=True)
        environment = {**os.environ, "MUTANTS_FOLDER": str(place), "OMP_NUM_THREADS": "1"}
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.contexts", "-n", "2", "--dist", "loadfile",
             str(folder)],
            cwd=ROOT, env=environment, check=False,
        )  # fmt: skip
        if run.returncode not in (0, NO_TESTS):
            raise SystemExit(f"the tests in {folder.relative_to(ROOT)} fail without a mutant")
        place.mkdir(exist_ok=True)
        (place / "done").touch()


def changed(source: str, text: str) -> tuple[str, str]:
    """The lines that differ, before and after."""
    lines = list(difflib.unified_diff(source.splitlines(), text.splitlines(), n=0, lineterm=""))[3:]
    return tuple("\n".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")  # type: ignore[return-value]


def run(language: str, count: int, seed: int, workers: int, again: bool) -> None:
    """Tries a random sample of mutants out, those that were not yet; prints what became of all."""
    covering, kind = Covering(LINES, ROOT), LANGUAGES[language]
    order = iter(sample(kind.mutants(ROOT), 10 * count, seed))
    record = Record(FOLDER / f"{language}.jsonl")
    trials: SimpleQueue[Any] = SimpleQueue()
    for number in range(workers):
        trials.put(number)
    counted: list[str] = []

    def one(mutant: Mutant) -> None:
        key = mutant.key((ROOT / mutant.file).read_text(encoding="utf-8"))
        known = record.outcomes.get(key)
        if known is None or (again and not known["noticed"]):
            trial = trials.get()
            if isinstance(trial, int):
                trial = kind(covering, trial)
            source = trial.tree.source(mutant)
            text = kind.mutated(mutant, source)
            record.add(key, trial.try_out(mutant, source, text), *changed(source, text))
            trials.put(trial)
        if record.outcomes[key]["by"] != rust_mutants.Builds.UNVIABLE:
            counted.append(key)

    with ThreadPoolExecutor(workers) as threads:
        while len(counted) < count:
            batch = [mutant for mutant, _ in zip(order, range(count - len(counted)), strict=False)]
            if not batch:
                break
            list(threads.map(one, batch))
    report(language, [record.outcomes[key] for key in counted])


def report(language: str, outcomes: list[dict[str, Any]]) -> None:
    """The share that was noticed, and every survivor with the reason."""
    reasons = {(each["file"], each["became"]): each["reason"] for each in json.loads(REASONS.read_text())}
    survivors = [outcome for outcome in outcomes if not outcome["noticed"]]
    for outcome in survivors:
        file = outcome["key"].partition("@")[0]
        print(f"\n{outcome['key']}\n- {outcome['was']}\n+ {outcome['became']}")
        print(f"  {reasons.get((file, outcome['became']), 'NO REASON GIVEN')} ({outcome['tests']} tests asked)")
    share = 100 * (1 - len(survivors) / max(len(outcomes), 1))
    print(f"\n{language}: {len(outcomes) - len(survivors)} of {len(outcomes)} mutants noticed, {share:.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("languages", nargs="*", metavar="python|rust", help="by default both")
    parser.add_argument("--count", type=int, default=200, help="mutants of each language")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="how many are tried at once")
    parser.add_argument("--again", action="store_true", help="try the survivors once more")
    parser.add_argument("--measure", action="store_true", help="measure once more which tests run which lines")
    options = parser.parse_args()
    if unknown := set(options.languages) - set(LANGUAGES):
        parser.error(f"languages must be of {', '.join(LANGUAGES)}, got {', '.join(unknown)}")
    if options.measure:
        shutil.rmtree(LINES, ignore_errors=True)
    measure()
    for language in options.languages or LANGUAGES:
        run(language, options.count, options.seed, options.workers, options.again)


if __name__ == "__main__":
    main()
