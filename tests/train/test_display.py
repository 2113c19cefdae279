"""What a run shows: a bar that fits, or lines where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dsct.train.display import Display

LOSSES = {"loss": 12.345, "loss_ce": 1.0, "loss_bbox": 0.5, "loss_giou": 0.25}


def shown(width: int, terminal: bool, is_logged: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    with Display(True, console) as display:
        for step in (1, 2):
            display.show("epoch 12/50", 123450 + step, 212345, LOSSES, 112.3, int(12e9), is_logged)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_what_matters_fits_on_a_line(width: int) -> None:
    lines = shown(width, terminal=True).replace("\x1b[2K", "\n").replace("\r", "\n").splitlines()
    line = [one for one in lines if "epoch" in one][-1]
    assert len(line) <= width
    for part in ("epoch 12/50", "━", "123452/212345", "loss 12.345", "left"):
        assert part in line
    assert ("giou 0.250" in line) == (width == 160)


def test_without_a_terminal_logged_steps_are_lines() -> None:
    assert shown(80, terminal=False) == ""
    first, second = shown(80, terminal=False, is_logged=True).splitlines()
    assert first.startswith("epoch 12/50  step 123451/212345  loss 12.345  112.3 images/s")
    assert first.endswith("-:--:-- left")
    assert second.endswith("left")
    assert "-:--" not in second
