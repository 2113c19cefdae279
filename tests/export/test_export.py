"""The exported model equals the native one, at batches and sizes that it was not exported with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.export import save_exported_program, standard_operators, to_aot_inductor, to_exported_program, to_onnx
from tests.comparison import assert_same, padded_images, randomise, small

SIZES = ((2, 192, 256), (1, 70, 91), (3, 130, 100))  # batch, height, width
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"aggregation": "split", "semantic_order": "highest", "spatial_frame": "padded", "person_class": True},
}


def model_of(**overrides: Any) -> dsct.DSCT:
    torch.manual_seed(0)
    model = dsct.DSCT(small(**overrides)).eval()
    randomise(model)
    return model


def of_last_layer(model: dsct.DSCT, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        output = model(*inputs)
    return output["pred_logits"], output["pred_boxes"]


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


@pytest.mark.slow
def test_a_file_with_standard_operators_needs_torch_only(tmp_path: Path) -> None:
    model, file = model_of(**VARIANTS["released"]), tmp_path / "model.pt2"
    save_exported_program(model, file, standard_operators=True)
    texts = {"dsct_config": "", "dsct_class_names": "", "dsct_normalization": ""}
    program = torch.export.load(file, extra_files=texts)
    assert not [node for node in program.graph.nodes if str(node.target).startswith("dsct.")]
    for size in SIZES:
        inputs = padded_images(*size, dtype=torch.float32)
        assert_same(program.module()(*inputs), of_last_layer(model, *inputs), 1e-4)
    assert dsct.DSCTConfig.from_json(texts["dsct_config"]) == model.config
    assert json.loads(texts["dsct_class_names"]) == list(model.config.names)
    assert json.loads(texts["dsct_normalization"])["mean"] == [0.485, 0.456, 0.406]


def assert_operators_of(written: onnx.ModelProto, opset: int) -> None:
    """The file says this version, and every operator, with its attributes, is one of it."""
    assert [(each.domain, each.version) for each in written.opset_import] == [("", opset)]
    onnx.checker.check_model(written, full_check=True)
    for node in written.graph.node:
        schema = onnx.defs.get_schema(node.op_type, opset)
        assert {attribute.name for attribute in node.attribute} <= set(schema.attributes), node.op_type
    modes = {
        attribute.s for node in written.graph.node if node.op_type == "GridSample" for attribute in node.attribute
        if attribute.name == "mode"
    }  # fmt: skip
    assert modes == ({b"bilinear"} if opset < 20 else set())


@pytest.mark.slow
def test_every_opset_gives_the_same_bits(tmp_path: Path) -> None:
    model = model_of()
    images, mask = padded_images(dtype=torch.float32)
    found = []
    for opset in (None, 20):
        file = tmp_path / f"{opset}.onnx"
        if opset is None:
            to_onnx(model, file)
        else:
            to_onnx(model, file, opset=opset)
        assert_operators_of(onnx.load(file), opset or 18)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        found.append(session.run(None, {"images": images.numpy(), "mask": mask.numpy()}))
    for other in found[1:]:
        assert all((one == two).all() for one, two in zip(found[0], other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_onnx_runtime_equals_the_model(variant: str, tmp_path: Path) -> None:
    model, file = model_of(**VARIANTS[variant]), tmp_path / "folder" / "model.onnx"
    model.preprocess = {"short_side": 64, "long_side": 100}
    to_onnx(model, file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for size in (*SIZES, (1, 40, 33)):
        images, mask = padded_images(*size, dtype=torch.float32)
        found = session.run(["pred_logits", "pred_boxes"], {"images": images.numpy(), "mask": mask.numpy()})
        assert_same([torch.from_numpy(output) for output in found], of_last_layer(model, images, mask), 1e-4)
    classes = model.config.num_classes + model.config.person_class
    shapes: dict[str, Sequence[Any]] = {value.name: value.shape for value in session.get_inputs()}
    assert shapes == {"images": ["batch", 3, "height", "width"], "mask": ["batch", "height", "width"]}
    shapes = {value.name: value.shape for value in session.get_outputs()}
    assert shapes == {"pred_logits": ["batch", 3, classes], "pred_boxes": ["batch", 3, 4]}
    written = onnx.load(file)
    assert {node.domain for node in written.graph.node} == {""}
    assert_operators_of(written, 18)
    stored = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert stored["dsct_class_names"] == list(model.config.names)
    assert stored["dsct_preprocess"] == model.preprocess


@pytest.mark.slow
def test_a_compiled_package_equals_the_model(tmp_path: Path) -> None:
    model, file = model_of(), tmp_path / "model.pt2"
    to_aot_inductor(model, file)
    compiled: Any = torch._inductor.aoti_load_package(str(file))
    for size in SIZES:
        inputs = padded_images(*size, dtype=torch.float32)
        assert_same(compiled(*inputs), of_last_layer(model, *inputs), 1e-4)
    assert json.loads(compiled.get_metadata()["dsct_class_names"]) == list(model.config.names)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.parametrize("coordinates", [2, 4])
def test_standard_operators_equal_the_operators(coordinates: int) -> None:
    sizes, heads, channels, points, queries = [(7, 5), (3, 9), (1, 2)], 3, 4, 2, 11
    value = torch.randn(2, sum(height * width for height, width in sizes), heads, channels, dtype=torch.float64)
    shape = (2, queries, heads, len(sizes), points)
    locations, weights = 1.4 * torch.rand(*shape, 2).double() - 0.2, torch.rand(shape).double()
    reference = torch.rand(2, queries, len(sizes), coordinates).double()
    offsets = torch.randn(*shape, 2).double()
    flat = [side for size in sizes for side in size]
    table, operators = standard_operators(), torch.ops.dsct
    for operator, arguments in (
        (operators.ms_deform_attn.default, (value, flat, locations, weights)),
        (operators.ms_deform_attn_fused.default, (value, flat, reference, offsets, weights)),
    ):
        assert_same(table[operator](*arguments), operator(*arguments), 1e-12)


def test_a_sort_by_topk_equals_a_stable_sort() -> None:
    numbers = torch.from_numpy(np.random.default_rng(0).permutation(60.0 * np.arange(8)).reshape(2, 4))
    sort = standard_operators()[torch.ops.aten.sort.stable]
    for descending in (False, True):
        assert_same(
            sort(numbers, stable=True, dim=-1, descending=descending),
            tuple(numbers.sort(stable=True, descending=descending)),
        )


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
    for opset in (17, 21, "18"):
        with pytest.raises(ValueError, match=r"to_onnx: opset must be from 18 to 20, got"):
            to_onnx(model, tmp_path / "model.onnx", opset=opset)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"to_aot_inductor: path must end in \.pt2, got .*model\.so"):
        to_aot_inductor(model, tmp_path / "model.so")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_program(tmp_path: Path) -> None:
    weights, file = tmp_path / "model.safetensors", tmp_path / "model.pt2"
    model = model_of()
    dsct.save_model(model, weights)
    result = CliRunner().invoke(app, ["export", str(weights), str(file), "--no-mask"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"wrote {file} (")
    inputs = padded_images(dtype=torch.float32, height=96)[:1]
    assert_same(torch.export.load(file).module()(*inputs), of_last_layer(model, *inputs), 1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.pt"], "the destination must end in .onnx or .pt2, got model.pt"),
        (["model.pt2", "--opset", "18"], "--opset is for .onnx files"),
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
