#!/usr/bin/env bash
# torchvision 0.28.0 with torch 2.13.0: `import torchvision` imports torch._dynamo, which `import torch` leaves out. So
# it takes as long again as torch itself, also where only a model or a transform is wanted.
#
# Seen:  after import torch: False; after import torchvision: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchvision==0.28.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

begin = time.process_time()
import torch

middle, first = time.process_time(), "torch._dynamo" in sys.modules
import torchvision

last = "torch._dynamo" in sys.modules
print(f"after import torch: {first}; after import torchvision: {last}")
print(f"seconds of CPU: {middle - begin:.1f} and {time.process_time() - middle:.1f}")
assert (first, last) == (False, True), (first, last)
PYTHON
