"""Peak memory of one step, in a process of its own.

Linux only: the kernel's high-water mark of resident memory is set back after the preparation, so that the difference is
what the step takes on top of model and inputs. Nothing is warmed up before: what the first step allocates and keeps
(packed weights of convolutions, thread stacks) counts.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from .machine import ROOT


def resident(field: str) -> int:
    """Bytes of ``VmRSS`` (now) or ``VmHWM`` (most so far)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def of_step(function: str, **arguments: Any) -> int:
    """Bytes that one step takes over what was there before.

    Args:
        function: ``module:name`` below this package; called with `arguments`, it prepares and returns the step.
        arguments: JSON values.
    """
    call = [function, str(torch.get_num_threads()), json.dumps(arguments)]
    command = [sys.executable, "-m", f"{__package__}.peak_memory", *call]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"peak_memory: {function} {arguments} failed:\n{done.stderr}")
    return int(done.stdout.splitlines()[-1])


def main(function: str, threads: str, arguments: str) -> None:
    """The child: prepare, set the mark back, step once, print the difference."""
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    module, name = function.split(":")
    step = getattr(importlib.import_module(f"{__package__}.{module}"), name)(**json.loads(arguments))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # otherwise the step could use what the preparation freed, at no cost
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = resident("VmRSS")
    result = step()
    print(resident("VmHWM") - before)
    del result


if __name__ == "__main__":
    main(*sys.argv[1:])
