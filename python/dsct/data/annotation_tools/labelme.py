"""labelme: a JSON file per image."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.raw_annotations import Box
from dsct.data.annotation_files.splits import split_of_folders
from dsct.data.annotation_tools.documents import number, whole_size
from dsct.data.annotation_tools.export import NO_BOX, OUTLINE, TURNED, Region, ToolExport, ToolImage
from dsct.data.annotation_tools.geometry import around, centred
from dsct.data.annotation_tools.labels import Said
from dsct.json_text import read_json

_BOXES = {"rectangle": "", "polygon": OUTLINE, "mask": OUTLINE, "rotation": TURNED, "oriented_rectangle": TURNED}


def read_labelme(path: Path) -> ToolExport:
    """Rectangles with their labels and flags; of polygons and circles the rectangle around them.

    The split of an image is that of its folder.

    Args:
        path: a folder, read with its subfolders, or a single JSON file.

    Raises:
        FileNotFoundError: there is no such file, or none of this form.
        ValueError: a file is malformed; the message names it.
    """
    folder = path if path.is_dir() else path.parent
    parts: defaultdict[str, list[ToolImage]] = defaultdict(list)
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        content = read_json(file)
        if is_labelme(content):
            place = file.relative_to(folder)
            try:
                image = _image(content, place)
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"{file}: {error}") from error
            parts[split_of_folders(place)].append(image)
    if not parts:
        raise FileNotFoundError(f"{path}: no JSON file with shapes and imagePath")
    sized = all(image.size for images in parts.values() for image in images)
    return ToolExport(path, "labelme JSON", parts, certain_sizes=sized)


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file is that of labelme."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _image(content: dict[str, Any], place: Path) -> ToolImage:
    written = str(content["imagePath"]).replace("\\", "/")
    # The path is relative to the JSON file; what leaves the folder is found by its end.
    name = written if Path(written).is_absolute() else _normal((place.parent / written).as_posix())
    image = ToolImage(name, whole_size(content.get("imageWidth"), content.get("imageHeight")))
    for shape in content["shapes"]:
        found = _box(str(shape.get("shape_type") or "polygon"), shape.get("points") or [])
        if found is None:
            image.left_out.append(f"{NO_BOX}: {shape.get('shape_type')}")
            continue
        box, mended = found
        image.mended += [mended] if mended else []
        said: dict[str, Said] = _said(shape.get("flags"))
        said |= _said(shape.get("attributes"))
        label = str(shape.get("label") or "").strip()
        image.regions.append(Region(box, (label,) if label else (), said))
    return image


def _said(given: Any) -> dict[str, Said]:
    """Check boxes and texts."""
    return {name: value for name, value in (given or {}).items() if isinstance(value, (str, bool))}


def _normal(name: str) -> str:
    """Without ``.`` and ``..``."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)


def _box(kind: str, points: list[Any]) -> tuple[Box, str] | None:
    """The upright rectangle around a shape, and what was mended."""
    pairs = [(number(x, "x"), number(y, "y")) for x, y in points]
    if kind == "circle" and len(pairs) == 2:
        (x, y), edge = pairs
        side = 2 * math.dist((x, y), edge)
        return centred(x, y, side, side), OUTLINE
    if kind not in _BOXES or len(pairs) < 2:
        return None
    return around(pairs), _BOXES[kind]
