"""MNN: the file is converted by its own converter."""

from __future__ import annotations

import numpy as np
from case import arguments, run


def main() -> None:
    """One row."""
    import _tools  # not the command `mnnconvert`, which installs a package with the first pip of PATH and reports
    import MNN

    case = arguments()
    file = case.out / "model.mnn"
    options = {"-f": "ONNX", "--modelFile": case.model, "--MNNModel": file, "--bizCode": "dsct"}
    _tools.mnnconvert(["mnnconvert", *(str(word) for option in options.items() for word in option)])
    names = ["images", "mask"], ["pred_logits", "pred_boxes"]
    precision = {"float32": "high", "float16": "low"}[case.precision]
    manager = MNN.nn.create_runtime_manager(({"backend": "CPU", "numThread": 2, "precision": precision},))
    net = MNN.nn.load_module_from_file(str(file), *names, runtime_manager=manager, shape_mutable=case.form == "free")

    def forward(images: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        given = [
            MNN.expr.const(array, array.shape, MNN.expr.NCHW, kind)
            for array, kind in ((images, MNN.expr.float), (mask.astype(np.int32), MNN.expr.int))
        ]
        return [MNN.expr.convert(each, MNN.expr.NCHW).read() for each in net.forward(given)]

    run(case, forward, MNN.version())


if __name__ == "__main__":
    main()
