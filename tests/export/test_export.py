"""The exported model equals the native one, at batches and sizes that it was not exported with."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.export import save_exported_program, to_aot_inductor, to_exported_program, to_onnx
from tests.comparison import assert_same, padded_images
from tests.export.models import SIZES, VARIANTS, model_of, model_with_ties, of_last_layer


@cache
def program_of_any_size(with_mask: bool) -> torch.export.ExportedProgram:
    return to_exported_program(model_of().double(), mask=with_mask)


@pytest.mark.parametrize("with_mask", [True, False])
def test_a_program_of_any_size_equals_the_model(with_mask: bool) -> None:
    model, program = model_of().double(), program_of_any_size(with_mask)
    for size in SIZES:
        inputs = padded_images(*size)[: 1 + with_mask]
        assert_same(program.module()(*inputs), of_last_layer(model, *inputs), 1e-9)
    recorded = [str(node.target) for node in program.graph.nodes]
    assert recorded.count("dsct.ms_deform_attn_fused.default") == 1 + 2  # encoder and decoder layers


@pytest.mark.parametrize(
    ("overrides", "size"),
    [
        ({"num_feature_levels": 5}, (1, 150, 131)),
        ({"num_feature_levels": 2}, (1, 40, 33)),
        ({"num_context_queries": 0}, (1, 80, 90)),
        ({"reweighting": "attentive", "fusion_layers": (1,)}, (3, 80, 90)),
    ],
)
def test_other_models_too(overrides: dict[str, Any], size: tuple[int, int, int]) -> None:
    model, inputs = model_of(**overrides), padded_images(*size, dtype=torch.float32)
    assert_same(to_exported_program(model).module()(*inputs), of_last_layer(model, *inputs), 1e-4)


def test_a_model_in_training_stays_so_and_is_exported_in_evaluation() -> None:
    model = model_of(dropout=0.5).train()
    program, inputs = to_exported_program(model, mask=False), padded_images(dtype=torch.float32, height=96)[:1]
    assert all(module.training for module in model.modules())
    assert_same(program.module()(*inputs), of_last_layer(model.eval(), *inputs), 1e-4)


def test_a_side_of_one_cell_is_refused() -> None:
    program = program_of_any_size(False)
    with pytest.raises(AssertionError, match="65"):
        program.module()(torch.zeros(1, 3, 64, 100, dtype=torch.float64))


@pytest.mark.parametrize("standard", [True, False])
def test_a_program_of_one_size_equals_the_model(standard: bool) -> None:
    """Also where the last levels are one cell high."""
    model, size = model_with_ties().double(), (2, 40, 96)
    program, inputs = to_exported_program(model, standard_operators=standard, size=size), padded_images(*size)
    assert_same(program.module()(*inputs), of_last_layer(model, *inputs), 1e-9)
    with pytest.raises(AssertionError, match="Guard failed"):
        program.module()(*padded_images(2, 40, 97))


@pytest.mark.slow
def test_a_file_with_standard_operators_needs_torch_only(tmp_path: Path) -> None:
    model, file = model_with_ties(**VARIANTS["released"]).double(), tmp_path / "model.pt2"
    save_exported_program(model, file, standard_operators=True)
    texts = {"dsct_config": "", "dsct_class_names": "", "dsct_normalization": ""}
    program = torch.export.load(file, extra_files=texts)
    assert not [node for node in program.graph.nodes if str(node.target).startswith("dsct.")]
    for size in SIZES:
        inputs = padded_images(*size)
        assert_same(program.module()(*inputs), of_last_layer(model, *inputs), 1e-9)
    assert dsct.DSCTConfig.from_json(texts["dsct_config"]) == model.config
    assert json.loads(texts["dsct_class_names"]) == list(model.config.names)
    assert json.loads(texts["dsct_normalization"])["mean"] == [0.485, 0.456, 0.406]


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    model = model_of()
    other: Any = torch.nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"to_exported_program: model must be a dsct\.DSCT, got Linear"):
        to_exported_program(other)
    for write in (to_onnx, to_aot_inductor):
        with pytest.raises(TypeError, match=rf"{write.__name__}: model must be a dsct\.DSCT, got Linear"):
            write(other, tmp_path / "model.onnx")
    with pytest.raises(TypeError, match=r"to_onnx: model must be in float32, got torch.float64"):
        to_onnx(model_of().double(), tmp_path / "model.onnx")
    for opset in (17, 21):
        with pytest.raises(ValueError, match=r"to_onnx: opset must be from 18 to 20, got"):
            to_onnx(model, tmp_path / "model.onnx", opset=opset)  # type: ignore[arg-type]
    for size in ((1, 64), (1, 64, 0), (True, 64, 64), 64, (1, 64.0, 64)):
        with pytest.raises(ValueError, match=r"export: size must be three positive integers, \(batch, height, width\)"):
            to_exported_program(model, size=size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"to_aot_inductor: path must end in \.pt2, got .*model\.so"):
        to_aot_inductor(model, tmp_path / "model.so")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_program(tmp_path: Path) -> None:
    weights, file = tmp_path / "model.safetensors", tmp_path / "model.pt2"
    model = model_of()
    dsct.save_model(model, weights)
    result = CliRunner().invoke(app, ["export", str(weights), str(file), "--no-mask", "--size", "2x96x64"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"wrote {file} (")
    inputs = padded_images(2, 96, 64, dtype=torch.float32)[:1]
    assert_same(torch.export.load(file).module()(*inputs), of_last_layer(model, *inputs), 1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.pt"], "the destination must end in .onnx or .pt2, got model.pt"),
        (["model.pt2", "--opset", "18"], "--opset is for .onnx files"),
        (["model.pt2", "--size", "480x640"], "--size must be batch x height x width, such as 1x480x640, got 480x640"),
        (["model.pt2", "--size", "1x0x64"], "--size must be batch x height x width, such as 1x480x640, got 1x0x64"),
        (["model.onnx", "--compile"], "--compile writes a .pt2 file, not .onnx"),
        (
            ["model.pt2", "--compile", "--standard-operators"],
            "--compile excludes --standard-operators: a compiled file calls dsct's operators",
        ),
    ],
)
def test_the_command_refuses_other_files(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["export", "weights.safetensors", *arguments])
    assert result.exit_code == 1
    assert result.stderr == f"error: {message}\n"
