"""Processes that would train something else are refused at the start, all with the same sentence; none waits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsct.train import Processes
from dsct.train.processes.agreement import require_agreement
from tests.faults.runs import two_processes
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
    "frozen": r"ValueError: .*trains\.transformer\.level_embed: True in process 0, False in process 1$",
    "class weights": r"ValueError: .* the same: class weights\[6\]: 1\.0 in .*, 2\.0 in process 1$",
    "version": r"ValueError: .*versions\.torch: '\S+' in process 0, '2\.0\.0' in process 1$",
    "class names": r"ValueError: .*same: class_names\[6\]: 'first name' in process 0, 'another name' in process 1$",
    "resume": r"ValueError: .*resume: False in process 0, True in process 1$",
    "test data": r"(FailedElsewhere: process 1 failed with )?ValueError: val_data must not be the test split",
    "validation": r"ValueError: .*annotations\.val: '\w+\.\.\.\w+' in process 0, '\w+\.\.\.\w+' in process 1",
    "unreadable": r"(FailedElsewhere: process 1 failed with )?OSError: the annotations cannot be read",
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
    assert re.search(r"survivor: process 0 lost the others: one of them has ended.*; torch says: (?!\[)\S.*\n", output)


@pytest.mark.slow
def test_a_process_that_is_late_ends_the_other_at_the_limit(tmp_path: Path) -> None:
    output = launch(WORKER, "late", tmp_path)
    assert re.search(r"waited: process \d lost the others: .* is further behind than the time limit", output)


def test_dsct_train_ends_at_its_process_timeout_when_the_other_never_comes(tmp_path: Path) -> None:
    """Without the limit it would wait for half an hour."""
    alone, _ = two_processes()
    options = ["--process-timeout", "3", "--device", "cpu", "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "dsct", "train", "synthetic", *options],
        env={**os.environ, **alone, "COLUMNS": "400"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert re.match(r"error: process 0 could not join 2 processes .* within 3 s \(--process-timeout\); torch", sentence)
    assert not done.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_process_group_of_the_caller_is_used(tmp_path: Path) -> None:
    output = launch(WORKER, "own_group", tmp_path)
    assert output.count("refused: all processes must train the same: lr: 0.001 in process 0, 1.001 in process 1") == 2
    assert output.count("2 together, group stays: True") == 2


class Both(Processes):
    """Stands for two processes, of which the second has other facts."""

    theirs: Any

    def all_gather(self, value: Any) -> list[Any]:
        return [value, self.theirs]


def refusal(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    both = Both(world_size=2)
    object.__setattr__(both, "theirs", theirs)
    with pytest.raises(ValueError, match="all processes must train the same: ") as refused:
        require_agreement(both, mine)
    return str(refused.value).partition("same: ")[2]


LONG = "the same beginning of two long texts, "


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        ([0.5] * 30, [0.5] * 29 + [0.25], "of[29]: 0.5 in process 0, 0.25 in process 1"),
        ([1], [1, 2], "of[1]: nothing in process 0, 2 in process 1"),
        ({"a": 1, "b": 2}, {"a": 1}, "of.b: 2 in process 0, nothing in process 1"),
        (None, "None", "of: None in process 0, 'None' in process 1"),
        (LONG + "mine", LONG + "your",
         "of: 'the same beginn...ine' in process 0, 'the same beginn...our' in process 1"),
        (list("abcdef"), list("ghijkl"), "of[0]: 'a' in process 0, 'g' in process 1; of[1]: 'b' in process 0, 'h' in "
         "process 1; of[2]: 'c' in process 0, 'i' in process 1; and 3 more"),
    ],
)  # fmt: skip
def test_every_value_is_compared_as_a_whole(mine: Any, theirs: Any, said: str) -> None:
    assert refusal({"of": mine}, {"of": theirs}) == said


def test_equal_facts_agree() -> None:
    both = Both(world_size=2)
    object.__setattr__(both, "theirs", {"a": [float("nan"), 1], "b": {}})
    require_agreement(both, {"a": [float("nan"), 1.0]})


def test_one_process_agrees_with_itself() -> None:
    require_agreement(Processes(), {"seed": 1})
