"""JSON that is nested deeper than Python reads is one sentence that names the file, wherever JSON is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsct.cli import app
from dsct.config import DSCTConfig
from dsct.data.annotation_files.coco_json import load_coco_json
from dsct.data.annotation_tools.documents import load_json
from dsct.train.run_config import read_run

READERS: dict[str, Callable[[Path], Any]] = {
    "COCO": load_coco_json,
    "annotation tool": load_json,
    "run": lambda path: read_run(path.parent),
}


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text("[" * 100_000)
    return path


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_files(read: Callable[[Path], Any], deep: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json.* not a JSON file"):
        read(deep)


def test_configuration_of_a_model(deep: Path) -> None:
    with pytest.raises(ValueError, match="DSCTConfig: not JSON"):
        DSCTConfig.from_json(deep.read_text())


@pytest.mark.parametrize("command", [["train", "synthetic", "--config"], ["train", "emotic", "--data"]])
def test_commands(command: list[str], deep: Path) -> None:
    end = CliRunner().invoke(app, [*command, str(deep)])
    assert end.exit_code == 1, end.output
    assert isinstance(end.exception, SystemExit)
    assert "config.json" in end.output
