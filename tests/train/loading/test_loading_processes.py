"""Loading processes end with the program that started them, and only with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from dsct.data.loaded import loaded
from dsct.data.loading_processes import STOP_SIGNALS, leave_signals_to_main, stop_signals_held


class Numbers:
    def __init__(self, killed: bool) -> None:
        self.killed = killed

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL if self.killed else signal.SIGTERM)
        return index


@pytest.mark.parametrize("killed", [False, True])
def test_only_what_cannot_be_left_to_the_trainer_ends_a_loading_process(killed: bool) -> None:
    loader: Any = DataLoader(
        Numbers(killed),  # type: ignore[arg-type]
        batch_size=None,
        num_workers=1,
        worker_init_fn=leave_signals_to_main,
        generator=torch.Generator(),
    )
    if not killed:
        assert list(loaded(loader)) == [0, 1, 2, 3]
        return
    with pytest.raises(ChildProcessError, match=r"a process that loads images was killed: DataLoader worker .*memory"):
        list(loaded(loader))


def test_signals_are_held_only_while_processes_start() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with stop_signals_held():
        assert set(STOP_SIGNALS) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_program_ends_although_its_loading_processes_are_there() -> None:
    program = """
        from dsct.data.loaded import loaded
        from dsct.data.synthetic import SyntheticDataset
        from dsct.train.loading.sampling import EpochBatches, training_loader

        data = SyntheticDataset("train", 4, image_size=(64, 48), transforms=lambda image, target: (image, target))
        loader = training_loader(data, EpochBatches(4, 2, seed=0), workers=2)
        items = loaded(loader)
        print("begins")
        next(items)
    """
    # A global keeps the processes until the interpreter itself ends them, which it does by SIGTERM and waiting.
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=100)
    assert (run.returncode, run.stdout, run.stderr) == (0, "begins\n", "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_loading_processes_end_with_a_program_that_is_killed_while_they_start(method: str, tmp_path: Path) -> None:
    program = f"""
        import multiprocessing, os, signal, time
        from dsct.data.loaded import loaded
        from dsct.data.synthetic import SyntheticDataset
        from dsct.train.loading.sampling import EpochBatches, training_loader

        if __name__ == "__main__":
            multiprocessing.set_start_method("{method}")
            data = SyntheticDataset("train", 4, image_size=(64, 48), transforms=tuple)
            items = iter(training_loader(data, EpochBatches(4, 2, seed=0), workers=2))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))
    run = subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        run.communicate(timeout=60)  # to the end of the last process that holds the pipes
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
