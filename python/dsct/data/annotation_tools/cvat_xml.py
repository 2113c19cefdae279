"""CVAT XML, "CVAT for images 1.1"."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element

from dsct.data.annotation_files.raw_annotations import Box
from dsct.data.annotation_files.splits import split_of_folder
from dsct.data.annotation_tools.documents import load_xml, number, whole_size
from dsct.data.annotation_tools.export import NO_BOX, OUTLINE, TURNED, WHOLE_IMAGE, Region, ToolExport, ToolImage
from dsct.data.annotation_tools.geometry import around, centred, turned
from dsct.data.annotation_tools.labels import written


def read_cvat_xml(path: Path) -> ToolExport:
    """Boxes with their labels and attributes; of ellipses, polygons and masks the rectangle around them.

    A box may be turned clockwise about its centre. Images of a subset train, val or test belong to that split.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed, or has the form for videos.
    """
    root = load_xml(path)
    if root.find("track") is not None:
        raise ValueError(
            f"{path}: CVAT's form for videos, which has no boxes by image; export as 'CVAT for images 1.1'"
        )
    parts: defaultdict[str, list[ToolImage]] = defaultdict(list)
    for entry in root.iter("image"):
        image = ToolImage(entry.get("name", ""), whole_size(entry.get("width"), entry.get("height")))
        if not image.name:
            raise ValueError(f"{path}: image {entry.get('id')}: the name is missing")
        for shape in entry:
            try:
                _add(image, shape)
            except ValueError as error:
                raise ValueError(f"{path}: {image.name}: {shape.tag}: {error}") from error
        parts[split_of_folder(entry.get("subset", "")) or ""].append(image)
    sized = all(image.size for images in parts.values() for image in images)
    return ToolExport(path, "CVAT XML", parts, certain_sizes=sized)


def _add(image: ToolImage, shape: Element) -> None:
    if shape.tag == "tag":
        image.mended.append(WHOLE_IMAGE)
        return
    if shape.tag not in _SHAPES:
        image.left_out.append(f"{NO_BOX}: {shape.tag}")
        return
    box = _SHAPES[shape.tag](shape)
    if degrees := number(shape.get("rotation", 0), "rotation") % 360:
        box = turned(box, degrees, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        image.mended.append(TURNED)
    elif shape.tag in ("polygon", "mask"):
        image.mended.append(OUTLINE)
    said = {one.get("name", ""): written(one.text or "") for one in shape.iter("attribute")}
    image.regions.append(Region(box, tuple(filter(None, [shape.get("label", "")])), said))


def _box(shape: Element) -> Box:
    x1, y1, x2, y2 = (number(shape.get(name), name) for name in ("xtl", "ytl", "xbr", "ybr"))
    return x1, y1, x2, y2


def _ellipse(shape: Element) -> Box:
    x, y, across, down = (number(shape.get(name), name) for name in ("cx", "cy", "rx", "ry"))
    return centred(x, y, 2 * across, 2 * down)


def _polygon(shape: Element) -> Box:
    points = [point.split(",") for point in (shape.get("points") or "").split(";") if point]
    if any(len(point) != 2 for point in points):
        raise ValueError(f"points must be x,y;x,y;…, got {shape.get('points')!r}")
    return around((number(x, "x"), number(y, "y")) for x, y in points)


def _mask(shape: Element) -> Box:
    x, y, width, height = (number(shape.get(name), name) for name in ("left", "top", "width", "height"))
    return x, y, x + width, y + height


_SHAPES: dict[str, Callable[[Element], Box]] = {"box": _box, "ellipse": _ellipse, "polygon": _polygon, "mask": _mask}
