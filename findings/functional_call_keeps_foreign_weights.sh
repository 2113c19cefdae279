#!/usr/bin/env bash
# torch 2.13.0: torch.func.functional_call with its default arguments, on a model that registers one module under
# several names, leaves tensors of the call in place of the model's own parameters. copy.deepcopy then fails.
#
# Seen:  parameter is the model's own: False; deepcopy: RuntimeError
# A model that registers the module once is as it was before the call.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy

"$folder/venv/bin/python" - <<'PYTHON'
import copy

import torch
from torch import nn


class Layers(nn.Module):
    def __init__(self, names: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(4, 2)] * names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads[-1](x)


def after_a_call(names: int) -> tuple[bool, str]:
    model = Layers(names)
    own = model.heads[0].weight
    doubled = {name: 2 * parameter for name, parameter in model.named_parameters()}
    torch.func.functional_call(model, doubled, (torch.zeros(1, 4),))
    try:
        copy.deepcopy(model)
        copied = "works"
    except RuntimeError as error:
        copied = type(error).__name__
    return model.heads[0].weight is own, copied


several, once = after_a_call(3), after_a_call(1)
print(f"parameter is the model's own: {several[0]}; deepcopy: {several[1]}")
assert (several, once) == ((False, "RuntimeError"), (True, "works")), (several, once)
PYTHON
