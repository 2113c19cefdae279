"""What is wrong with a call of the exporters is said before the export, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.export import save_exported_program, to_aot_inductor, to_exported_program, to_onnx
from tests.comparison import assert_same, padded_images
from tests.export.models import model_of, of_last_layer

WRITERS = {to_onnx: ".onnx", save_exported_program: ".pt2", to_aot_inductor: ".pt2"}
Writer = Callable[..., None]


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*_: object, **__: object) -> None:
        raise AssertionError("the export has begun")

    monkeypatch.setattr(torch.export, "export", export)


def each_writer(function: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize("write", WRITERS)(pytest.mark.usefixtures("no_export")(function))


@each_writer
def test_a_place_that_cannot_be_written_to(write: Writer, tmp_path: Path) -> None:
    name, model = f"model{WRITERS[write]}", model_of()
    (tmp_path / "file").write_text("a file")
    (tmp_path / name).mkdir()
    for path, error, why in (
        (tmp_path / name, IsADirectoryError, "Is a directory"),
        (Path("/proc/nope") / name, OSError, "its folder cannot be created"),
        (tmp_path / "file" / name, FileExistsError, "its folder cannot be created: File exists"),
        (tmp_path / "file" / "new" / name, NotADirectoryError, "its folder cannot be created: Not a directory"),
        (tmp_path / ("x" * 255 + name), OSError, "File name too long"),
        (tmp_path / "new" / ("x" * 255) / ("x" * 255 + name), OSError, "File name too long"),
    ):
        with pytest.raises(error, match=rf"{why}.*{path}"):
            write(model, path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", name]


@each_writer
def test_what_is_no_path_or_ends_in_something_else(write: Writer, tmp_path: Path) -> None:
    model, function = model_of(), write.__name__
    for no_path in (5, None, b"model.onnx", ["model.onnx"]):
        kind = type(no_path).__name__
        with pytest.raises(TypeError, match=rf"{function}: path must be a string or os\.PathLike, got {kind}"):
            write(model, no_path)
    for path in ("model.bin", "model", tmp_path / "model.onnx.zip", ""):
        with pytest.raises(ValueError, match=rf"{function}: path must end in \{WRITERS[write]}, got {path}"):
            write(model, path)


@each_writer
def test_switches_are_true_or_false(write: Writer, tmp_path: Path) -> None:
    for mask in ("no", 0, None):
        with pytest.raises(TypeError, match=rf"{write.__name__}: mask must be True or False, got {mask!r}"):
            write(model_of(), tmp_path / f"model{WRITERS[write]}", mask=mask)


def test_switches_and_versions_of_one_form(no_export: None, tmp_path: Path) -> None:
    no: Any = "no"
    with pytest.raises(TypeError, match=r"to_exported_program: standard_operators must be True or False, got 'no'"):
        to_exported_program(model_of(), standard_operators=no)
    with pytest.raises(TypeError, match=r"save_exported_program: standard_operators must be True or False, got 'no'"):
        save_exported_program(model_of(), tmp_path / "model.pt2", standard_operators=no)
    for opset in (18.0, "18", True, None):
        with pytest.raises(TypeError, match=rf"to_onnx: opset must be an integer, got {opset!r}"):
            to_onnx(model_of(), tmp_path / "model.onnx", opset=opset)  # type: ignore[arg-type]


@each_writer
def test_a_model_without_memory(write: Writer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{write.__name__}: model must have weights, .* on the device meta"):
        write(model_of().to("meta"), tmp_path / f"model{WRITERS[write]}")
    partly = model_of()
    partly.class_embed_dsct.to("meta")
    with pytest.raises(ValueError, match=r"to_exported_program: model must have weights"):
        to_exported_program(partly)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("size", ["1x999999x999999", "1x99999999999x99999999999", f"{10**20}x64x64", "1x65537x64"])
@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_sizes_beyond_the_limit(size: str, ending: str, tmp_path: Path) -> None:
    dsct.save_model(model_of(), tmp_path / "model.safetensors")
    out = tmp_path / f"out{ending}"
    result = CliRunner().invoke(app, ["export", str(tmp_path / "model.safetensors"), str(out), "--size", size])
    assert isinstance(result.exception, SystemExit)
    assert result.stderr == f"error: export: size must be at most 65,536 in each number, got {size}\n"
    assert not out.exists()


def test_sizes_beyond_the_memory(no_export: None) -> None:
    with pytest.raises(
        ValueError, match=r"size must be one that fits into memory, 65536x65536x65536 needs 3,145,728 GiB"
    ):
        to_exported_program(model_of(), size=(65536, 65536, 65536))


@pytest.mark.parametrize("standard", [True, False])
def test_autocast_of_the_caller_stays_outside(standard: bool, tmp_path: Path) -> None:
    model, inputs = model_of(), padded_images(2, 40, 96, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        save_exported_program(model, tmp_path / "model.pt2", standard_operators=standard, size=(2, 40, 96))
        assert torch.is_autocast_enabled("cpu")
    found: tuple[Tensor, Tensor] = torch.export.load(tmp_path / "model.pt2").module()(*inputs)
    assert_same(found, of_last_layer(model, *inputs), 1e-3)


@pytest.mark.slow
def test_autocast_of_the_caller_stays_outside_of_onnx(tmp_path: Path) -> None:
    import onnxruntime

    model, inputs = model_of(), padded_images(2, 40, 96, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        to_onnx(model, tmp_path / "model.onnx", size=(2, 40, 96))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": inputs[0].numpy(), "mask": inputs[1].numpy()})
    assert_same([torch.from_numpy(output) for output in found], of_last_layer(model, *inputs), 1e-3)
