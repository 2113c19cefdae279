#!/usr/bin/env bash
# matplotlib 3.11.2: a line without points, with markers and clip_on=False, counts as lying in the lower left corner of
# the figure. Layouts make room for it there: with several axes, tight_layout warns and gives up.
#
# Seen:  axes begin at x = -4.2 pixels with the empty line, at 15.0 without markers; tight_layout of three axes:
#        "Tight layout not applied. tight_layout cannot make Axes width small enough to accommodate all Axes decorations"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet matplotlib==3.11.2

"$folder/venv/bin/python" - <<'PYTHON'
import warnings

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def with_empty_lines(axes: int, style: str) -> tuple[float, list[str]]:
    figure = Figure()
    FigureCanvasAgg(figure)
    for place in range(axes):
        ax = figure.add_subplot(1, axes, place + 1)
        ax.plot([], [], style, clip_on=False)
        ax.set(xlim=(0, 100), ylim=(0, 100))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.tight_layout()
    return round(float(figure.axes[0].get_tightbbox().x0), 1), [str(one.message) for one in caught]


left, plain_left = with_empty_lines(1, "o-")[0], with_empty_lines(1, "-")[0]
said, plain_said = with_empty_lines(3, "o-")[1], with_empty_lines(3, "-")[1]
print(f"axes begin at x = {left} pixels with the empty line, at {plain_left} without markers; three axes: {said}")
assert left < 0 < plain_left, (left, plain_left)
assert len(said) == 1 and "cannot make Axes width small enough" in said[0] and not plain_said, (said, plain_said)
PYTHON
