"""Which tests are asked about a changed place, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from coverage import CoverageData

#: Seconds of tests, as they take undisturbed, after which a mutant counts as not noticed.
LIMIT = 200.0
#: What is asked first ends with this many seconds.
FIRST = 15.0


class Covering:
    """What `contexts.py` wrote in one run of all tests.

    Args:
        folder: where it wrote.
        root: of the project that ran.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.root = root
        self.seconds: dict[str, float] = {}
        for path in folder.rglob("seconds.*.json"):
            self.seconds |= json.loads(path.read_text())
        self.data = CoverageData(no_disk=True)
        for path in folder.rglob("lines.*"):
            part = CoverageData(str(path))
            part.read()
            self.data.update(part)

    def tests(self, file: str, lines: Iterable[int]) -> list[str]:
        """The tests that run one of the lines; if the import does, all that run a line of the file."""
        by_line = self.data.contexts_by_lineno(str(self.root / file))
        of_lines = {name for line in lines for name in by_line.get(line, ())}
        is_imported = not of_lines or "" in of_lines
        names = {name for found in by_line.values() for name in found} if is_imported else of_lines
        names |= set(filter(beside(file), self.seconds))  # they may run it in processes of their own
        return self.in_order((name for name in names if name in self.seconds), file)

    def in_order(self, names: Iterable[str], file: str) -> list[str]:
        """Those of the mirrored folder first, fast ones first."""
        room = mirrored(file)
        return sorted(names, key=lambda name: (not name.startswith((room, file)), self.seconds[name], name))

    def below(self, *folders: str) -> list[str]:
        """All tests of folders or files."""
        return [name for name in self.seconds if name.startswith(folders)]

    def stages(self, names: list[str]) -> list[list[str]]:
        """The tests in two parts, of which the first is fast; without those beyond the limit."""
        parts: list[list[str]] = [[], []]
        total = 0.0
        for name in names:
            total += self.seconds[name]
            if total > LIMIT and parts[0]:
                break
            parts[total > FIRST].append(name)
        return [part for part in parts if part]


def beside(file: str) -> Callable[[str], bool]:
    """Whether a test is of the file's own folder of tests; of a large one, whether it is named after the file."""
    below = PurePosixPath(file).relative_to("python/dsct")
    folder = str(PurePosixPath("tests", *below.parts[:-1]))
    is_small = len(below.parts) > 2

    def is_beside(name: str) -> bool:
        path = PurePosixPath(name.partition("::")[0])
        return str(path.parent) == folder and (is_small or path.stem.startswith(f"test_{below.stem}"))

    return is_beside


def mirrored(file: str) -> str:
    """The folder of the tests of a module: ``tests/train`` for ``python/dsct/train/engine.py``."""
    below = PurePosixPath(file).relative_to("python/dsct")
    return f"tests/{below.parts[0]}/" if len(below.parts) > 1 else f"tests/{below.stem}/"
