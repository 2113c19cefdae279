#!/usr/bin/env bash
# onnxruntime 1.32.0: quant_pre_process, the recommended first step of its quantisation, raises a TypeError of sympy for a
# valid file in which Split gets sizes that depend on free dimensions. The same parts by Slice are accepted, and ONNX
# Runtime runs both.
#
# Seen:  Split: TypeError; Slice: prepared
# dsct writes slices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.20.0 sympy==1.14.0

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization.shape_inference import quant_pre_process

FORMS = {
    "Split": [
        helper.make_node("Concat", ["rows_a", "rows_b"], ["sizes"], axis=0),
        helper.make_node("Split", ["both", "sizes"], ["first", "second"], axis=0),
    ],
    "Slice": [
        helper.make_node("Add", ["rows_a", "rows_b"], ["end"]),
        helper.make_node("Slice", ["both", "zero", "rows_a"], ["first"]),
        helper.make_node("Slice", ["both", "rows_a", "end"], ["second"]),
    ],
}


def outcome(form: str) -> str:
    """Two inputs are put together and taken apart again."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"n_{name}", 2]) for name in "ab"]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("first", "second")]
    shapes = [helper.make_node("Shape", [name], [f"rows_{name}"], start=0, end=1) for name in "ab"]
    nodes = [*shapes, helper.make_node("Concat", ["a", "b"], ["both"], axis=0), *FORMS[form]]
    constants = [helper.make_tensor("zero", TensorProto.INT64, [1], [0])] if form == "Slice" else []
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path = f"{sys.argv[1]}/{form}.onnx"
    onnx.save(model, path)
    given = {"a": np.ones((3, 2), np.float32), "b": np.zeros((2, 2), np.float32)}
    found = onnxruntime.InferenceSession(path).run(None, given)
    assert [part.shape for part in found] == [(3, 2), (2, 2)]
    try:
        quant_pre_process(path, f"{sys.argv[1]}/prepared.onnx")
    except TypeError as error:
        return f"TypeError: {error}"
    return "prepared"


found = {form: outcome(form) for form in FORMS}
print(onnxruntime.__version__, found)
assert found["Split"].startswith("TypeError") and found["Slice"] == "prepared"
PYTHON
