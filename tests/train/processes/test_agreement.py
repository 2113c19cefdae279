"""Processes that would train something else are refused at the start, all with the same sentence; none waits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dsct.train import Processes
from dsct.train.distributed import require_agreement
from tests.train.processes.two_processes import launch

WORKER = str(Path(__file__).with_name("agreement_worker.py"))
SAID = {
    "lr": r"ValueError: all processes must train the same: lr: 0\.\d+ in process 0, 1e-05 in process 1",
    "seed": r"ValueError: .*seed: \d+ in process 0, 5 in process 1",
    "save_every": r"ValueError: .*save_every: \d+ in process 0, 7 in process 1",
    "model": r"ValueError: .*model\.dropout: 0\.\d+ in process 0, 0\.3 in process 1",
    "architecture": r"ValueError: .*model\.dec_layers: 2 in process 0, 1 in process 1",
    "weights": r"ValueError: .*weights of the model: '\w{12}' in process 0, '\w{12}' in process 1$",
    "one image more": r"ValueError: .*number of images\.train: 6 in process 0, 7 in process 1",
    "a third fewer": r"ValueError: .*number of images\.train: 6 in process 0, 4 in process 1",
    "validation": r"ValueError: .*annotations\.val: '\w+\.\.\. in process 0, '\w+\.\.\. in process 1",
    "late in a list": r"ValueError: .*class_names: \['a+\.\.\. in process 0, \['a+\.\.\. in process 1",
    "resumed": r"ValueError: .*resume: False in process 0, True in process 1",
    "unreadable": r"(RuntimeError: process 1 failed with )?OSError: the annotations cannot be read",
}


@pytest.mark.slow
def test_what_differs_is_named_in_every_process(tmp_path: Path) -> None:
    launch(WORKER, "disagree", tmp_path)
    for rank in (0, 1):
        said = json.loads((tmp_path / f"{rank}.json").read_text())
        assert said.keys() == SAID.keys()
        for name, pattern in SAID.items():
            assert re.match(pattern, said[name]), (name, rank, said[name])


@pytest.mark.slow
def test_a_process_that_dies_ends_the_other_with_a_sentence(tmp_path: Path) -> None:
    output = launch(WORKER, "die", tmp_path, code=1)
    assert "survivor: ConnectionError: process 0 lost the others: one of them has ended" in output


@pytest.mark.slow
def test_a_process_that_is_late_ends_the_other_at_the_limit(tmp_path: Path) -> None:
    output = launch(WORKER, "late", tmp_path)
    assert re.search(r"waited: process \d lost the others: .* is further behind than the time limit", output)


def test_one_process_agrees_with_itself() -> None:
    require_agreement(Processes(), {"seed": 1})
