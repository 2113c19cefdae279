"""``--split``: the names that people have for a split, and what is said of others."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from dsct.cli import app

COMMANDS = {
    "eval": ["eval", "synthetic"],
    "overfit": ["overfit", "synthetic"],
    "data check": ["data", "check", "."],
    "data convert": ["data", "convert", ".", "there"],
    "figure": ["figure", "sheet", "synthetic"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_wrong_split_is_one_sentence(command: list[str]) -> None:
    end = CliRunner().invoke(app, [*command, "--split", "foo"], env={"COLUMNS": "200"})
    assert end.exit_code == 2, end.output
    assert "Invalid value for '--split': split must be one of train, val, test, got 'foo'" in end.output
    assert "Value error" not in end.output
