"""The input size and thresholds in a weights file are checked when it is read, and before it is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import dsct
from dsct.checkpoint import read_checkpoint, save_released
from dsct.checkpoint.native import distinct_tensors, metadata_of
from dsct.checkpoint.seal import sealed
from dsct.cli import app
from tests.comparison import small

SHORT = r"short_side must be a whole number of pixels from 1 to 65535, or none to keep the size, got "
LONG = r"long_side must be a whole number of pixels from 1 to 2147483647, got "
BOTH = r" must have short_side and long_side and nothing else, got "
PREPROCESS = [
    ('{"short_side": 48}', BOTH + r"\{'short_side': 48\}"),
    ('{"foo": 1}', BOTH + r"\{'foo': 1\}"),
    ("{}", BOTH + r"\{\}"),
    ('{"long_side": [1]}', BOTH + r"\{'long_side': \[1\]\}"),
    ('{"short_side": 48, "long_side": 64, "foo": 1}', BOTH),
    ("48.5", " must be a dictionary, got float"),
    ("true", " must be a dictionary, got bool"),
    ("null", " must be a dictionary, got NoneType"),
    ('{"short_side": 48, "long_side": [1]}', ": " + LONG + r"\[1\]"),
    ('{"short_side": 48, "long_side": null}', ": " + LONG + "None"),
    ('{"short_side": 48.5, "long_side": 64}', ": " + SHORT + "48.5"),
    ('{"short_side": true, "long_side": 64}', ": " + SHORT + "True"),
    ('{"short_side": 0, "long_side": 64}', ": " + SHORT + "0"),
    ('{"short_side": -5, "long_side": 64}', ": " + SHORT + "-5"),
    ('{"short_side": 1' + "0" * 400 + ', "long_side": 64}', ": " + SHORT + r"10+\.\.\.0+"),
    ('{"short_side": NaN, "long_side": 64}', ": " + SHORT + "nan"),
    ('{"short_side": 64, "long_side": 64}', ": long_side must be greater than short_side, got 64 and 64"),
]
THRESHOLDS = [
    ("0.5, 0.5, 0.5, 0.5, 1" + "0" * 400, r" must be in \[0, 1\], got 10+\.\.\.0+ for class 4"),
    ("0.5, 1e308, 0.5, 0.5, 0.5", r" must be in \[0, 1\], got 1e\+308 for class 1"),
    ("0.5, 0.5, -5, 0.5, 0.5", r" must be in \[0, 1\], got -5 for class 2"),
    ("0.5, 0.5, true, 0.5, 0.5", " must be 5 finite numbers, one per class, got "),
    ("0.5, 0.5, null, 0.5, 0.5", " must be 5 finite numbers, one per class, got "),
    ("0.5, 0.5, Infinity, 0.5, 0.5", " must be 5 finite numbers, one per class, got "),
    ("0.5", r" must be 5 finite numbers, one per class, got \[0.5\]"),
]
BROKEN = [("preprocess", *one) for one in PREPROCESS] + [("thresholds", f"[{text}]", why) for text, why in THRESHOLDS]


@pytest.fixture
def model() -> dsct.DSCT:
    torch.manual_seed(0)
    return dsct.DSCT(small()).eval()


def written(model: dsct.DSCT, path: Path, key: str, text: str) -> Path:
    if path.suffix == ".safetensors":
        path.write_bytes(sealed(distinct_tensors(model), {**metadata_of(model), key: text}))
    else:
        save_released(model, path)
        torch.save({**torch.load(path, weights_only=False), key: text}, path)
    return path


@pytest.mark.parametrize(("attribute", "text", "why"), BROKEN)
def test_what_a_prediction_cannot_use(model: dsct.DSCT, tmp_path: Path, attribute: str, text: str, why: str) -> None:
    for name in ("model.safetensors", "model.pt"):
        path = written(model, tmp_path / name, f"dsct_{attribute}", text)
        sentence = re.compile(f"^{re.escape(str(path))}: dsct_{attribute}{why}.*$")
        for read in (read_checkpoint, dsct.load_model, dsct.Predictor):
            with pytest.raises(ValueError, match=sentence):
                read(path)
    setattr(model, attribute, json.loads(text))
    if json.loads(text) is not None:
        with pytest.raises(ValueError, match=f"^model.{attribute}{why}"):
            dsct.save_model(model, tmp_path / "other.safetensors")


def test_commands_say_it_in_one_sentence(model: dsct.DSCT, tmp_path: Path) -> None:
    path = written(model, tmp_path / "model.safetensors", "dsct_preprocess", '{"short_side": 48}')
    for command in (["info", str(path)], ["convert", str(path), str(tmp_path / "b.safetensors")]):
        end = CliRunner().invoke(app, command)
        assert isinstance(end.exception, SystemExit)
        assert (end.exit_code, "dsct_preprocess must have short_side and" in " ".join(end.output.split())) == (1, True)


@pytest.mark.parametrize("sides", [(None, 1), (1, 2), (65535, 2**31 - 1)])
def test_what_a_prediction_can_use(model: dsct.DSCT, tmp_path: Path, sides: Any) -> None:
    model.preprocess = dict(zip(("short_side", "long_side"), sides, strict=True))
    model.thresholds = [0, 1, 0.0, 1.0, 0.5]
    dsct.save_model(model, tmp_path / "model.safetensors")
    loaded = dsct.load_model(tmp_path / "model.safetensors")
    assert (loaded.preprocess, loaded.thresholds) == (model.preprocess, model.thresholds)
