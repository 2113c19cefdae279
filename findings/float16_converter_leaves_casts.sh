#!/usr/bin/env bash
# onnxconverter-common 1.16.0: convert_float_to_float16 makes the output of a Cast to float32 float16 and leaves the Cast
# as it is. The result is no valid file; ONNX Runtime refuses it. onnxruntime.transformers.float16, a copy of it, changes
# the Cast too.
#
# Seen:  onnxconverter-common: refused; onnxruntime.transformers: right
# dsct's documentation names the second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxconverter-common==1.16.0 onnxruntime==1.32.0 onnx==1.20.0 sympy==1.14.0

"$folder/venv/bin/python" - <<'PYTHON'
import copy

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxconverter_common import float16 as common
from onnxruntime.transformers import float16 as own

flags = helper.make_tensor_value_info("flags", TensorProto.BOOL, [3])
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
nodes = [
    helper.make_node("Cast", ["flags"], ["numbers"], to=TensorProto.FLOAT),
    helper.make_node("Mul", ["numbers", "x"], ["y"]),
]
graph = helper.make_graph(nodes, "graph", [flags, x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
onnx.checker.check_model(model, full_check=True)


def result(converter: object) -> object:
    """What ONNX Runtime computes, or that it refuses the file."""
    converted = converter.convert_float_to_float16(copy.deepcopy(model), keep_io_types=True)
    try:
        session = onnxruntime.InferenceSession(converted.SerializeToString())
    except Exception as error:
        assert "does not match expected type" in str(error), error
        return "refused"
    given = {"flags": np.array([True, False, True]), "x": np.array([1, 2, 3], np.float32)}
    return session.run(None, given)[0].tolist()


found = {"onnxconverter-common": result(common), "onnxruntime.transformers": result(own)}
print(found)
assert found == {"onnxconverter-common": "refused", "onnxruntime.transformers": [1.0, 0.0, 3.0]}
PYTHON
