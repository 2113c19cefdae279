"""All programs for the CPU, one after another, each in a process of its own; then the tables of the README.

Arguments go to every program: ``python -m tests.bench --quick``.
"""

from __future__ import annotations

import subprocess
import sys

from .machine import ROOT

PROGRAMS = ("import", "ops", "criterion", "model", "training", "scaling", "loader", "export")


def main() -> int:
    """Run until one fails."""
    for name in PROGRAMS:
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"tests.bench.bench_{name}", *sys.argv[1:]], cwd=ROOT)
        if done.returncode:
            return done.returncode
    if "--quick" in sys.argv:
        return 0
    return subprocess.run([sys.executable, "-m", "tests.bench.report"], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
