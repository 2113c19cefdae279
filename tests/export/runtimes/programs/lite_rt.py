"""LiteRT (TensorFlow Lite): converted with litert-torch from the ``torch.export`` program of standard operators."""

from __future__ import annotations

import importlib.metadata

import numpy as np
from case import arguments, run


def main() -> None:
    """One row."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    case = arguments()
    images, mask = next(iter(case.inputs().values()))
    module = torch.export.load(case.folder / f"{case.form}.pt2").module()
    converted = litert_torch.convert(module, (torch.from_numpy(images), torch.from_numpy(mask)))
    file = case.out / "model.tflite"
    converted.export(str(file))
    interpreter = Interpreter(model_path=str(file), num_threads=2)
    runner = interpreter.get_signature_runner()
    kinds = {len(details["shape"]): name for name, details in runner.get_input_details().items()}
    # Both outputs have three dimensions; the last of the boxes is four.
    outputs = sorted(runner.get_output_details())

    def forward(images: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        found = runner(**{kinds[4]: images, kinds[3]: mask})
        return [found[name] for name in outputs]

    run(case, forward, importlib.metadata.version("ai-edge-litert"))


if __name__ == "__main__":
    main()
