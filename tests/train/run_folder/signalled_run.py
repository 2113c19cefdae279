"""``dsct train`` that halts at a moment and says so by a file, for `test_signals.py` to signal all its processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch.utils.data._utils.signal_handling as of_loading_processes

import dsct.train.step as step
from dsct.cli import main
from dsct.data.synthetic import SyntheticDataset

RUN = ["train", "synthetic", "--preset", "tiny", "--size", "7", "--val-size", "3", "--image-size", "64x48",
       "--device", "cpu", "--log-to", "none", "--set", "epochs=2", "--set", "batch_size=2", "--set", "workers=2",
       "--set", "enc_layers=1", "--set", "num_context_queries=6", "--set", "k_spatial=3",
       "--set", "k_semantic=2"]  # fmt: skip


def halting(halts: bool, mark: Path) -> None:
    if halts:
        mark.touch()
        time.sleep(1.0)


class Halting:
    """Replaces a function by one that halts at its call number `at` in this process, before or after what it does."""

    def __init__(self, owner: Any, name: str, mark: Path, at: int = 1, split: str = "", after: bool = False) -> None:
        self.function, self.mark, self.at, self.split, self.calls = getattr(owner, name), mark, at, split, 0
        halts = self

        def replacement(*arguments: Any, **options: Any) -> Any:
            halts.calls += not split or arguments[0].split == split
            is_moment = halts.calls == at and not mark.exists()
            halting(is_moment and not after, mark)
            result = halts.function(*arguments, **options)
            halting(is_moment and after, mark)
            return result

        setattr(owner, name, replacement)


def halt_at(moment: str, mark: Path) -> None:
    if moment == "start":
        Halting(of_loading_processes, "_set_worker_signal_handlers", mark, after=True)
    elif moment == "first batch":
        Halting(SyntheticDataset, "__getitem__", mark, split="train")
    elif moment == "epoch":
        Halting(step.OptimizerStep, "__call__", mark, at=3)
    elif moment == "validation":
        Halting(SyntheticDataset, "__getitem__", mark, split="val")


MOMENT, METHOD = os.environ.get("HALT_AT", ""), os.environ.get("START_METHOD", "fork")
if MOMENT:  # also in the processes that spawn starts, which import this file
    halt_at(MOMENT, Path(os.environ["MARK"]))

if __name__ == "__main__":
    multiprocessing.set_start_method(METHOD)
    sys.argv[1:1] = RUN
    main()
