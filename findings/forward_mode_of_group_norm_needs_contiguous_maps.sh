#!/usr/bin/env bash
# torch 2.13.0: the forward-mode derivative of a group norm exists for contiguous maps only. For the same numbers in the
# memory format channels_last, which torch recommends for convolutions, torch.func.jvp raises an error about views,
# while reverse mode takes them. torch 2.15.0 computes both (seen by hand, not installed here).
#
# Seen:  contiguous: works; channels last: RuntimeError (view size is not compatible with ...); backward: works
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.nn.functional import group_norm


def forward_mode(maps: torch.Tensor) -> str:
    try:
        torch.func.jvp(lambda x: group_norm(x, 4), (maps,), (torch.ones_like(maps),))
    except RuntimeError as error:
        return f"{type(error).__name__} ({str(error)[:32]} ...)"
    return "works"


maps = torch.randn(2, 8, 5, 5)
last = maps.to(memory_format=torch.channels_last)
leaf = last.clone().requires_grad_()
group_norm(leaf, 4).square().sum().backward()
found = forward_mode(maps), forward_mode(last), leaf.grad is not None
print(f"contiguous: {found[0]}; channels last: {found[1]}; backward: {'works' if found[2] else 'fails'}")
assert found == ("works", "RuntimeError (view size is not compatible with ...)", True), found
PYTHON
