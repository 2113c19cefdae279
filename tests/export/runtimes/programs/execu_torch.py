"""ExecuTorch with XNNPACK: lowered from the ``torch.export`` program of standard operators."""

from __future__ import annotations

import importlib.metadata

import numpy as np
from case import arguments, run


def main() -> None:
    """One row."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    case = arguments()
    program = torch.export.load(case.folder / f"{case.form}.pt2")
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    file = case.out / "model.pte"
    file.write_bytes(lowered.buffer)
    method = Runtime.get().load_program(file).load_method("forward")

    def forward(images: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        return [each.numpy() for each in method.execute([torch.from_numpy(images), torch.from_numpy(mask)])]

    run(case, forward, importlib.metadata.version("executorch"))


if __name__ == "__main__":
    main()
