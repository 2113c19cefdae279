"""``torch.export``: a program of dsct's operators, in the type of its parameters, or of standard operators."""

from __future__ import annotations

import warnings

import numpy as np
from case import arguments, run


def main() -> None:
    """One row; `precision` is that of the parameters, or "standard operators"."""
    import torch

    import dsct
    from dsct.export import save_exported_program

    case = arguments()
    torch.set_num_threads(2)
    standard = case.precision == "standard operators"
    kind = torch.float32 if standard else getattr(torch, case.precision)
    first = next(iter(case.inputs().values()))[1]
    model, file = dsct.load_model(case.folder / "model.safetensors").to(kind), case.out / "model.pt2"
    size = first.shape if case.form == "fixed" else None
    save_exported_program(model, file, standard_operators=standard, size=size)
    program = torch.export.load(file).module()

    def forward(images: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [each.float().numpy() for each in program(torch.from_numpy(images).to(kind), torch.from_numpy(mask))]

    run(case, forward, torch.__version__.partition("+")[0])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
