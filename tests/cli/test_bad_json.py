"""JSON that cannot be read is one sentence that says where it is, wherever JSON is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

import dsct
from dsct.checkpoint import read_checkpoint
from dsct.checkpoint.files import HUGGING_FACE_KEY, OPTIONS_KEY, Checkpoint
from dsct.checkpoint.seal import WEIGHTS_KEY
from dsct.checkpoint.sizes import sizes_beside
from dsct.cli import app
from dsct.cli.figures.images import read_results
from dsct.cli.figures.saved_evaluation import read_evaluation
from dsct.cli.training.config_file import read_config_file
from dsct.config import DSCTConfig
from dsct.data.annotation_files.coco_json import load_coco_json
from dsct.json_text import parse_json_object, read_json, read_json_object
from dsct.train import TrainConfig
from dsct.train.run_config import read_run

#: What may be in a file, none of which is an object that Python reads.
CONTENTS = {
    "nothing": b"",
    "torn": b'{"epochs": ',
    "too deep": b"[" * 100_000,
    "not UTF-8": b'{"name": "\xff"}',
    "UTF-16": '{"name": 3}'.encode("utf-16"),
    "too many digits": b'{"epochs": ' + b"9" * 5000 + b"}",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "any": read_json,
    "any object": read_json_object,
    "COCO": load_coco_json,
    "run": lambda path: read_run(path.parent),
    "--config": read_config_file,
    "evaluation": read_evaluation,
    "results": lambda path: read_results(path, [], None),
    "Hugging Face": lambda path: read_checkpoint(path.parent),
}


@pytest.fixture(params=CONTENTS.values(), ids=CONTENTS.keys())
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    path = tmp_path / "config.json"
    path.write_bytes(request.param)
    return path


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_files(read: Callable[[Path], Any], bad: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json.* not JSON") as error:
        read(bad)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["any object", "COCO", "run", "--config", "evaluation", "Hugging Face"])
@pytest.mark.parametrize("text", ["[1]", "3", "null", '"text"'])
def test_files_that_hold_no_object(name: str, text: str, tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        READERS[name](path)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"epochs": 3}')
    assert read_json_object(tmp_path / "a.json") == {"epochs": 3}


@pytest.mark.parametrize("kind", [DSCTConfig, TrainConfig])
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"epochs": ' + "9" * 5000 + "}"])
def test_configurations(kind: type[DSCTConfig | TrainConfig], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{kind.__name__}: not JSON"):
        kind.from_json(text)


@pytest.mark.parametrize("kind", [DSCTConfig, TrainConfig])
def test_configurations_of_another_form(kind: type[DSCTConfig | TrainConfig]) -> None:
    with pytest.raises(ValueError, match=f"^{kind.__name__}: must be a JSON object, got list$"):
        kind.from_json("[3]")
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: unknown fields \['epoch'\]$"):
        kind.from_json('{"epoch": 3}')


def test_no_text_at_all() -> None:
    with pytest.raises(ValueError, match=r"last\.pt: train_config: not JSON: .*NoneType"):
        parse_json_object(None, "last.pt: train_config")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[", "[3]", "9" * 5000])
@pytest.mark.parametrize("key", [OPTIONS_KEY, HUGGING_FACE_KEY, "dsct_config"])
def test_texts_beside_weights(key: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path, {key: text})
    with pytest.raises(ValueError, match=r"model\.safetensors.*(not JSON|must be a JSON object, got list)"):
        read_checkpoint(path)


def test_options_beside_weights_are_known_numbers() -> None:
    text = '{"nheads": 4, "enc_n_points": "2", "dec_n_points": true, "other": 3}'
    assert sizes_beside(Checkpoint({}, {OPTIONS_KEY: text})) == {"nheads": 4}


def test_header_of_a_file_that_safetensors_reads(tmp_path: Path) -> None:
    """Numbers may have more digits there than Python reads."""
    path = tmp_path / "model.safetensors"
    dsct.save_model(dsct.DSCT(DSCTConfig.tiny()), path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b'"dtype"', b'"more":' + b"9" * 5000 + b',"dtype"', 1)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert WEIGHTS_KEY.encode() in header
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        read_checkpoint(path)


@pytest.mark.parametrize("command", [["train", "synthetic", "--config"], ["train", "emotic", "--data"]])
def test_commands(command: list[str], bad: Path) -> None:
    end = CliRunner().invoke(app, [*command, str(bad)])
    assert end.exit_code == 1, end.output
    assert isinstance(end.exception, SystemExit)
    assert "config.json" in end.output.replace("\n", "")


def test_convert_names_the_text_that_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    dsct.save_model(dsct.DSCT(DSCTConfig.tiny()), path)
    found = read_checkpoint(path)
    metadata = {name: text for name, text in found.metadata.items() if name != WEIGHTS_KEY} | {"dsct_preprocess": "[]"}
    safetensors.torch.save_file({name: one.contiguous() for name, one in found.tensors.items()}, path, metadata)
    end = CliRunner().invoke(app, ["convert", str(path), str(tmp_path / "b.safetensors"), "--set", "k_semantic=3"])
    assert (end.exit_code, "model.safetensors: dsct_preprocess must be a dictionary" in end.output) == (1, True)
