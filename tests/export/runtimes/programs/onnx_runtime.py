"""ONNX Runtime: float32, float16 (converted by its own tool), int8 (its static quantisation)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from case import Case, arguments, run


def main() -> None:
    """One row."""
    import onnxruntime

    case = arguments()
    file = {"float32": as_it_is, "float16": float16, "int8": int8}[case.precision](case)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = ["pred_logits", "pred_boxes"]
    run(case, lambda images, mask: session.run(names, {"images": images, "mask": mask}), onnxruntime.__version__)


def as_it_is(case: Case) -> Path:
    """The file that dsct wrote."""
    return case.model


def float16(case: Case) -> Path:
    """Everything in float16 but inputs and outputs."""
    import onnx
    from onnxruntime.transformers import float16 as converter

    converted = converter.convert_float_to_float16(onnx.load(case.model), keep_io_types=True)
    onnx.save(converted, case.out / "float16.onnx")
    return case.out / "float16.onnx"


def int8(case: Case) -> Path:
    """Convolutions in int8, quantised before and back after each; what computes coordinates stays in float32."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    images = np.load(case.folder / "calibration.npy")
    if case.form == "fixed":
        raise ValueError("int8 is measured with free sizes")

    class Scenes(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = list(images[:, None])

        def get_next(self) -> Any:
            if not self.left:
                return None
            image = self.left.pop()
            return {"images": image, "mask": np.zeros((1, *image.shape[2:]), dtype=bool)}

    prepared, quantised = case.out / "prepared.onnx", case.out / "int8.onnx"
    quant_pre_process(str(case.model), str(prepared))
    quantize_static(
        str(prepared), str(quantised), Scenes(), quant_format=QuantFormat.QDQ, per_channel=True,
        op_types_to_quantize=["Conv"],
    )  # fmt: skip
    return quantised


if __name__ == "__main__":
    main()
