"""A package compiled ahead by Inductor."""

from __future__ import annotations

import numpy as np
from case import arguments, run


def main() -> None:
    """One row."""
    import torch

    import dsct
    from dsct.export import to_aot_inductor

    case = arguments()
    torch.set_num_threads(2)
    first = next(iter(case.inputs().values()))[1]
    model, file = dsct.load_model(case.folder / "model.safetensors"), case.out / "model.pt2"
    to_aot_inductor(model, file, size=first.shape if case.form == "fixed" else None)
    compiled = torch._inductor.aoti_load_package(str(file))

    def forward(images: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        return [each.numpy() for each in compiled(torch.from_numpy(images), torch.from_numpy(mask))]

    run(case, forward, torch.__version__.partition("+")[0])


if __name__ == "__main__":
    main()
