"""How long ``import dsct`` takes, each time in a new process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from . import program
from .program import Options
from .report import COMPARISON_COLUMNS, Table
from .timing import paired


def importing(module: str) -> Callable[[], None]:
    """A new interpreter that imports `module` and ends."""
    return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True).check_returncode()


def measure(options: Options) -> list[Table]:
    """Beside torch, which every user of dsct imports anyway, and torch with torchvision, which dsct loads on demand."""
    table = Table(
        "Importing the package",
        ["ours", "peer", *COMPARISON_COLUMNS],
        note="The whole process, start and end of the interpreter included.",
    )
    for peer in ("torch", "torch, torchvision"):
        times = paired(importing("dsct"), importing(peer), options.budget)
        table.compare(["import dsct", f"import {peer}"], times)
    return [table]


if __name__ == "__main__":
    program.run("import", __doc__, measure)
