"""The ONNX file in ONNX Runtime and OpenVINO equals the model at any size, whatever equal numbers it has to order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

import dsct
from dsct.export import to_onnx
from tests.comparison import assert_same, padded_images
from tests.export.models import SIZES, VARIANTS, model_of, model_with_ties, of_last_layer
from tests.export.runtimes import environments, subjects
from tests.project.test_docs import DOCS, code

OPENVINO = ("newest", "2025.4.1")
OLD_OPENVINO = Path(sysconfig.get_path("data")) / "openvino-2025.4.1"

Exported = tuple[dsct.DSCT, Path]


@pytest.fixture(scope="module", params=VARIANTS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A model and its file of any size, in a folder of its own."""
    model, file = model_with_ties(**VARIANTS[request.param]), tmp_path_factory.mktemp("onnx") / "folder/free.onnx"
    model.preprocess = {"short_side": 64, "long_side": 100}
    to_onnx(model, file)
    return model, file


def answer(file: Path, images: Tensor, mask: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(["pred_logits", "pred_boxes"], {"images": images.numpy(), "mask": mask.numpy()})
    return [torch.from_numpy(output) for output in found]


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
def test_onnx_runtime_equals_the_model(exported: Exported) -> None:
    model, file = exported
    for size in (*SIZES, (1, 40, 33)):
        inputs = padded_images(*size, dtype=torch.float32)
        assert_same(answer(file, *inputs), of_last_layer(model, *inputs), 1e-4)


@pytest.mark.slow
def test_the_file_says_what_it_takes_and_gives(exported: Exported) -> None:
    model, file = exported
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    classes = model.config.num_classes + model.config.person_class
    shapes: dict[str, Sequence[Any]] = {value.name: value.shape for value in session.get_inputs()}
    assert shapes == {"images": ["batch", 3, "height", "width"], "mask": ["batch", "height", "width"]}
    shapes = {value.name: value.shape for value in session.get_outputs()}
    assert shapes == {"pred_logits": ["batch", 3, classes], "pred_boxes": ["batch", 3, 4]}
    stored = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert stored["dsct_class_names"] == list(model.config.names)
    assert stored["dsct_preprocess"] == model.preprocess


@pytest.mark.slow
def test_the_file_has_only_operators_that_runtimes_agree_on(exported: Exported) -> None:
    """Not the others: where they are refused or computed otherwise is in ``docs/how-to/export.md``."""
    written = onnx.load(exported[1])
    assert_operators_of(written, 18)
    used = {node.op_type for node in written.graph.node}
    assert not used & {"ScatterElements", "ScatterND", "ReduceL2", "NonZero", "If", "Loop", "SplitToSequence"}
    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL}
    assert {value.type.tensor_type.elem_type for value in written.graph.value_info} <= kinds
    assert {constant.data_type for constant in written.graph.initializer} <= kinds


def openvino(version: str) -> dict[str, str]:
    """The environment in which this version is imported; skips where it is missing, unless it is required."""
    if version == "newest":
        try:
            import openvino  # noqa: F401
        except ImportError:
            missing = "openvino"
        else:
            return dict(os.environ)
    elif OLD_OPENVINO.is_dir():
        return {**os.environ, "PYTHONPATH": str(OLD_OPENVINO)}
    else:
        missing = f"OpenVINO {version}"
    if os.environ.get("DSCT_REQUIRE_PEERS"):
        pytest.fail(f"{missing} is missing, which `make test-python` installs")
    pytest.skip(f"{missing} is missing, which `make test-python` installs")


@pytest.mark.slow
@pytest.mark.parametrize("version", OPENVINO)
def test_openvino_equals_the_model(version: str, exported: Exported, tmp_path: Path) -> None:
    """In a process of its own: two versions exclude each other."""
    environment, (model, file) = openvino(version), exported
    subjects.write_inputs(model, SIZES, file.parent)
    program = environments.PROGRAMS / "open_vino.py"
    done = subprocess.run(
        [sys.executable, program, file.parent, tmp_path, "free", "float32", "0"],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert version in ("newest", json.loads(done.stdout.splitlines()[-1])["version"])
    assert len(list(tmp_path.glob("*.boxes"))) == len(SIZES)
    assert max(subjects.differences(file.parent, tmp_path)) < 1e-4


@pytest.mark.slow
def test_the_documented_quantisation_gives_a_file_that_runs_and_is_near(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shape inference with free sizes is part of it."""
    (block,) = (each for each in code(DOCS / "how-to/export.md", "python") if "def quantise(" in each)
    names: dict[str, Any] = {}
    exec(block, names)
    (tmp_path / "images").mkdir()
    for number in range(4):
        np.save(tmp_path / f"images/{number}.npy", torch.randn(1, 3, 96, 128).numpy())
    monkeypatch.chdir(tmp_path)
    model, file = exported
    names["quantise"](file, "int8.onnx", "images")

    inputs = padded_images(dtype=torch.float32)
    expected = of_last_layer(model, *inputs)
    assert_same(answer(tmp_path / "prepared.onnx", *inputs), expected, 1e-4)
    nodes = onnx.load(tmp_path / "int8.onnx").graph.node
    restored = {output for node in nodes if node.op_type == "DequantizeLinear" for output in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert convolutions
    assert all({*node.input} <= restored for node in convolutions), "pixels, weights and biases are integers"
    found = answer(tmp_path / "int8.onnx", *inputs)
    assert not torch.equal(found[1], expected[1])
    assert_same([found[0].sigmoid(), found[1]], [expected[0].sigmoid(), expected[1]], 0.05)


@pytest.mark.slow
def test_float16_runs_and_is_near(exported: Exported, tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model, file = exported
    onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), tmp_path / "half.onnx")
    inputs = padded_images(dtype=torch.float32)
    found, expected = answer(tmp_path / "half.onnx", *inputs), of_last_layer(model, *inputs)
    assert_same([found[0].sigmoid(), found[1]], [expected[0].sigmoid(), expected[1]], 0.03)


@pytest.mark.slow
def test_opset_20_gives_the_same_bits(tmp_path: Path) -> None:
    """At a fixed size, which may have sides of one cell."""
    model, size = model_of(), (2, 40, 96)
    inputs = padded_images(*size, dtype=torch.float32)
    found = []
    for opset in (18, 20):
        file = tmp_path / f"{opset}.onnx"
        to_onnx(model, file, opset=opset, size=size)
        assert_operators_of(onnx.load(file), opset)
        found.append(answer(file, *inputs))
    assert_same(found[0], of_last_layer(model, *inputs), 1e-4)
    assert all(np.array_equal(one, two) for one, two in zip(*found, strict=True))
    shapes = {value.name: value.shape for value in onnxruntime.InferenceSession(file).get_inputs()}
    assert shapes == {"images": [2, 3, 40, 96], "mask": [2, 40, 96]}
