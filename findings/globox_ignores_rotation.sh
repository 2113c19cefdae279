#!/usr/bin/env bash
# globox 2.9.0: a box that was turned in CVAT is read from "CVAT for images" XML as if it were upright, without a word.
# The rectangle around this box of 200 x 100, a quarter turn about its centre, is 100 x 200.
#
# Seen:  turned by 90: 200 x 100; not turned: 200 x 100
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet globox==2.9.0

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from pathlib import Path

import globox


def sides(more: str) -> tuple[float, float]:
    box = f'<box label="calm" xtl="200" ytl="100" xbr="400" ybr="200" {more}/>'
    image = f'<image id="0" name="a.png" width="600" height="400">{box}</image>'
    Path("a.xml").write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    (found,) = next(iter(globox.AnnotationSet.from_cvat(Path("a.xml")))).boxes
    return found.xmax - found.xmin, found.ymax - found.ymin


turned, upright = sides('rotation="90.0"'), sides("")
print(f"turned by 90: {turned[0]:g} x {turned[1]:g}; not turned: {upright[0]:g} x {upright[1]:g}")
assert turned == upright == (200, 100), (turned, upright)
PYTHON
