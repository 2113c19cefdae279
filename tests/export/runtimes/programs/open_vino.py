"""OpenVINO on the CPU, in the precision that its hint names."""

from __future__ import annotations

from case import arguments, run


def main() -> None:
    """One row."""
    import openvino

    case = arguments()
    hints = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    options = {"INFERENCE_PRECISION_HINT": hints[case.precision], "INFERENCE_NUM_THREADS": 2}
    compiled = openvino.Core().compile_model(case.model, "CPU", options)
    run(
        case,
        lambda images, mask: [
            compiled({"images": images, "mask": mask})[name] for name in ("pred_logits", "pred_boxes")
        ],
        openvino.__version__.split("-")[0],
    )


if __name__ == "__main__":
    main()
