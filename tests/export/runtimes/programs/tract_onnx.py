"""tract (Rust), through its Python bindings."""

from __future__ import annotations

import importlib.metadata

import numpy as np
from case import arguments, run


def main() -> None:
    """One row."""
    import tract

    case = arguments()
    model = tract.onnx().load(str(case.model)).into_model().into_runnable()

    def forward(images: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        return [each.to_numpy() for each in model.run([images, mask])]

    run(case, forward, importlib.metadata.version("tract"))


if __name__ == "__main__":
    main()
