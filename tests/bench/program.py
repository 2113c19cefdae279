"""What all programs share: command line, threads, and where results go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from . import machine, report
from .report import Table
from .timing import Budget


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        quick: tiny sizes, one pair each: whether the program runs, not how fast.
        threads: of torch and of our operator alike.
        budget: of each comparison.
        folder: where JSON and Markdown go; None only prints.
    """

    quick: bool
    threads: int
    budget: Budget
    folder: Path | None


def options(description: str | None, arguments: list[str] | None = None) -> Options:
    """Parse the command line and fix the number of threads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes; prints and writes no files")
    parser.add_argument("--threads", type=int, default=2, help="of torch and of dsct (default 2)")
    parser.add_argument("--repeats", type=int, default=15, help="most pairs per comparison (default 15)")
    parser.add_argument("--seconds", type=float, default=60.0, help="most seconds per comparison (default 60)")
    parser.add_argument("--output", type=Path, default=report.RESULTS, help="folder for JSON and Markdown")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    budget = Budget(1, 1.0, 1) if given.quick else Budget(given.repeats, given.seconds)
    return Options(given.quick, given.threads, budget, None if given.quick else given.output)


def run(
    name: str, description: str | None, measure: Callable[[Options], list[Table]], device: str | None = None
) -> None:
    """Measure, print, and write the results unless the sizes are tiny; `device` names a GPU."""
    settings = options(description)
    header = machine.describe(device)  # before the load that the measurement itself makes
    torch.manual_seed(0)
    tables = measure(settings)
    command = " ".join(["python -m", f"tests.bench.bench_{name}", *sys.argv[1:]])
    result = {
        "program": name,
        "command": command,
        "machine": header,
        "budget": asdict(settings.budget),
        "tables": [asdict(table) for table in tables],
    }
    print(report.markdown(result), flush=True)
    if settings.folder is not None:
        report.write(result, settings.folder)
