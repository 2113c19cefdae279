"""The model itself, in dsct."""

from __future__ import annotations

import contextlib

import numpy as np
from case import arguments, run


def main() -> None:
    """One row."""
    import torch

    import dsct

    case = arguments()
    torch.set_num_threads(2)
    model = dsct.load_model(case.folder / "model.safetensors")
    half = torch.autocast("cpu", torch.bfloat16) if case.precision == "bfloat16" else contextlib.nullcontext()

    def forward(images: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad(), half:
            output = model(torch.from_numpy(images), torch.from_numpy(mask))
        return [output[name].float().numpy() for name in ("pred_logits", "pred_boxes")]

    run(case, forward, dsct.__version__)


if __name__ == "__main__":
    main()
