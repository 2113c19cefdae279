#!/usr/bin/env bash
# openvino 2025.4.1: an ONNX file of opset 20 whose GridSample spells out its default, mode="linear", as torch's exporter
# writes it, is refused. The same file without the attribute is read, and so is one of opset 18 with mode="bilinear".
# All three are valid, and compute the same.
#
# Seen:  20 linear: refused; 20 without: read; 18 bilinear: read
# dsct writes opset 18, and leaves the attribute out under opset 20.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2025.4.1 onnx==1.20.0

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper

IMAGE, GRID = (1, 1, 2, 2), (1, 1, 1, 2)


def sampled(opset: int, **mode: str) -> object:
    """What the file computes, or that it is refused."""
    shapes = {"image": IMAGE, "grid": GRID, "out": (1, 1, 1, 1)}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    node = helper.make_node("GridSample", ["image", "grid"], ["out"], **mode)
    graph = helper.make_graph([node], "graph", [values["image"], values["grid"]], [values["out"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path = f"{sys.argv[1]}/model.onnx"
    onnx.save(model, path)
    try:
        read = openvino.Core().read_model(path)
    except RuntimeError as error:
        assert '"linear" is not a member of enum' in str(error), error
        return "refused"
    image = np.arange(4, dtype=np.float32).reshape(IMAGE)
    compiled = openvino.Core().compile_model(read, "CPU")
    return float(compiled({"image": image, "grid": np.zeros(GRID, np.float32)})[0].item())


found = {"20 linear": sampled(20, mode="linear"), "20 without": sampled(20), "18 bilinear": sampled(18, mode="bilinear")}
print(openvino.__version__, found)
assert found == {"20 linear": "refused", "20 without": 1.5, "18 bilinear": 1.5}
PYTHON
