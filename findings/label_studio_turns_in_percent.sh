#!/usr/bin/env bash
# label-studio-sdk 2.1.2, the converter behind Label Studio's exports: its COCO file turns a rectangle in percent of the
# image, where a percent across and a percent down have different lengths, so that in an image that is not square the
# box has another shape and place. Its own oriented corners, of the same rectangle, are turned in pixels and are right.
# Of several labels of a rectangle COCO keeps the first, and JSON-MIN writes a single choice without its region.
#
# Seen, for 40 x 10 pixels of an image of 200 x 100, a quarter turn: COCO 20 x 20, oriented corners 10 x 40;
# labels of the box: 1 of 2; "emotion" in JSON-MIN: "a"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet label-studio-sdk==2.1.2

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.utils import convert_annotation_to_yolo_obb
from PIL import Image

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="calm"/><Label value="happy"/></RectangleLabels>
<Choices name="emotion" toName="image" perRegion="true"><Choice value="a"/><Choice value="b"/></Choices></View>"""
size = {"original_width": 200, "original_height": 100}
box = {"x": 50, "y": 20, "width": 20, "height": 10, "rotation": 90}
region = {"id": "r", "to_name": "image", **size}
labels = region | {"type": "rectanglelabels", "from_name": "box", "value": box | {"rectanglelabels": ["calm", "happy"]}}
choice = region | {"type": "choices", "from_name": "emotion", "value": box | {"choices": ["a"]}}
task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": [labels, choice]}]}
Path("export.json").write_text(json.dumps([task]))
Path("coco/images").mkdir(parents=True)
for place in (".", "coco/images"):
    Image.new("RGB", (200, 100)).save(Path(place, "a.png"))

converter = Converter(CONFIG, project_dir=None, download_resources=False)
converter.convert_to_coco("export.json", "coco", output_image_dir="coco/images", is_dir=False)
converter.convert_to_json_min("export.json", "min", is_dir=False)
people = json.loads(Path("coco/result.json").read_text())["annotations"]
coco = [round(value) for value in people[0]["bbox"][2:]]
corners = convert_annotation_to_yolo_obb(box | size, normalize=False)
turned = [round(max(values) - min(values)) for values in zip(*corners)]
emotion = json.loads(Path("min/result.json").read_text())[0]["emotion"]
print(f"COCO {coco}, oriented corners {turned}; labels of the box: {len(people)} of 2; emotion in JSON-MIN: {emotion!r}")
assert (coco, turned, len(people), emotion) == ([20, 20], [10, 40], 1, "a"), (coco, turned, people, emotion)
PYTHON
