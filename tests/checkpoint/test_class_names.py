"""Class names are keys of JSON and words on a terminal: they differ, and hold no control characters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import dsct
from dsct.checkpoint import read_checkpoint, save_released
from dsct.checkpoint.files import config_digest
from dsct.checkpoint.native import distinct_tensors, metadata_of
from dsct.checkpoint.seal import sealed
from dsct.cli import app
from tests.comparison import small

BROKEN = {
    "twice": (["a", "b", "a", "c", "d"], "must differ from each other, got 'a' twice"),
    "line end": (["a\nb", "b", "c", "d", "e"], r"must have no line ends or control characters, got 'a\nb'"),
    "carriage return": (["a", "b\r", "c", "d", "e"], r"got 'b\r'"),
    "escape": (["a", "b", "c", "d", "\x1b[31mred"], r"got '\x1b[31mred'"),
    "control of 8 bits": (["a", "b", "c", "d", "\x9b31m"], r"got '\x9b31m'"),
    "zero": (["a", "b", "c", "d", "e\0"], r"got 'e\x00'"),
    "delete": (["a", "b", "c", "d", "e\x7f"], r"got 'e\x7f'"),
    "separator": (["a", "b", "c", "d", "e\u2028f"], r"got 'e\u2028f'"),
    "half a character": (["a", "b", "c", "d", "\ud800"], r"got '\ud800'"),
    "no text": (["a", "b", "c", "d", 5], "must be texts, got 5"),
    "a list": (["a", "b", "c", "d", ["e"]], "must be texts, got ['e']"),
}


@pytest.mark.parametrize(("names", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_they_are_refused(tmp_path: Path, names: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=f"DSCTConfig: class_names .*{re.escape(why)}$"):
        small(class_names=tuple(names))
    model = dsct.DSCT(small())
    text = json.dumps({**json.loads(model.config.to_json()), "class_names": names})
    metadata = {**metadata_of(model), "dsct_config": text, "dsct_config_sha256": config_digest(text)}
    files = tmp_path / "model.safetensors", tmp_path / "model.pt"
    files[0].write_bytes(sealed(distinct_tensors(model), metadata))
    save_released(model, files[1])
    torch.save({**torch.load(files[1], weights_only=False), **metadata}, files[1])
    for path in files:
        for read in (read_checkpoint, dsct.load_model):
            with pytest.raises(ValueError, match=f"^{re.escape(str(path))} .*{re.escape(why)}$"):
                read(path)


def test_names_of_all_languages_stay(tmp_path: Path) -> None:
    names = ("Doubt/Confusion", "Über glücklich", "喜び", "شادی‌ها", "😀 \u00a0")
    dsct.save_model(dsct.DSCT(small(class_names=names)), tmp_path / "model.safetensors")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "image.png")
    given = ["--weights", str(tmp_path / "model.safetensors"), "--score-threshold", "0", "--json"]
    end = CliRunner().invoke(app, ["predict", str(tmp_path / "image.png"), *given])
    people = json.loads(end.stdout)[0]["people"]
    assert people
    assert all(tuple(person["probabilities"]) == names for person in people)
