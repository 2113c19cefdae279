"""VGG Image Annotator (VIA) 1 and 2: a project, its annotations as JSON, and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.csv_table import read_table
from dsct.data.annotation_files.raw_annotations import Box
from dsct.data.annotation_tools.documents import number
from dsct.data.annotation_tools.export import NO_BOX, OUTLINE, TURNED, Region, ToolExport, ToolImage
from dsct.data.annotation_tools.geometry import around, centred, turned
from dsct.data.annotation_tools.labels import Said, written
from dsct.json_text import parse_json, read_json

CSV_COLUMNS = ("file_attributes", "region_shape_attributes", "region_attributes")
_NAMES = frozenset({"name", "label", "class", "type", "object", "category"})
"""Region attributes that say what the box is of, as a label of the box does in other tools."""

_Options = Mapping[str, Mapping[str, str]]


def read_via_json(path: Path) -> ToolExport:
    """Rectangles with their attributes; of circles, ellipses and polygons the rectangle around them.

    Args:
        path: the file, a project or exported annotations.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed.
    """
    content = read_json(path)
    options = _options(content.get("_via_attributes"))
    images = []
    for key, entry in content.get("_via_img_metadata", content).items():
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            raise ValueError(f"{path}: {key}: filename must be text, got {name!r}")
        regions = entry.get("regions") or []
        image = ToolImage(name)
        try:
            for region in regions.values() if isinstance(regions, dict) else regions:
                _add(image, region.get("shape_attributes"), region.get("region_attributes"), options)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: {name}: {error}") from error
        images.append(image)
    return ToolExport(path, "VIA JSON", {"": images}, certain_sizes=False)


def is_via_json(content: Any) -> bool:
    """Whether the content of a JSON file is a project of VIA, or annotations that it exported."""
    if not isinstance(content, dict) or not content:
        return False
    if isinstance(content.get("_via_img_metadata"), dict):
        return True
    return all(isinstance(one, dict) and "filename" in one and "regions" in one for one in content.values())


def read_via_csv(path: Path) -> ToolExport:
    """As :func:`read_via_json`, from the CSV, which has a row per region and one per image without any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed; the message names the line.
    """
    images: dict[str, ToolImage] = {}
    for line, row in read_table(path, CSV_COLUMNS):
        try:
            name = row.get("filename") or row.get("#filename", "")
            if not name:
                raise ValueError("filename must not be empty")
            image = images.setdefault(name, ToolImage(name))
            shape, said = (parse_json(row[column] or "{}", column) for column in CSV_COLUMNS[1:])
            if shape:
                _add(image, shape, said, {})
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
    return ToolExport(path, "VIA CSV", {"": list(images.values())}, certain_sizes=False)


def _options(attributes: Any) -> dict[str, dict[str, str]]:
    """Attribute -> id of an option -> its text, for options whose id is only a number."""
    regions = attributes.get("region") if isinstance(attributes, dict) else None
    found: dict[str, dict[str, str]] = {}
    for name, about in regions.items() if isinstance(regions, dict) else ():
        options = about.get("options") if isinstance(about, dict) else None
        if isinstance(options, dict):
            found[name] = {one: str(text) for one, text in options.items() if one.isdecimal() and str(text).strip()}
    return found


def _add(image: ToolImage, shape: Any, attributes: Any, options: _Options) -> None:
    if not isinstance(shape, dict) or not isinstance(attributes or {}, dict):
        raise ValueError(f"a region must have shape_attributes and region_attributes, got {shape!r} and {attributes!r}")
    found = _box(shape)
    if found is None:
        image.left_out.append(f"{NO_BOX}: {shape.get('name')}")
        return
    box, mended = found
    image.mended += [mended] if mended else []
    names: list[str] = []
    said: dict[str, Said] = {}
    for name, value in (attributes or {}).items():
        texts = _said(value, options.get(name, {}))
        if name.lower() in _NAMES and not isinstance(texts, (bool, float, int)):
            names += [texts] if isinstance(texts, str) else texts
        else:
            said[name] = texts
    image.regions.append(Region(box, tuple(filter(None, names)), said))


def _said(value: Any, options: Mapping[str, str]) -> Said:
    """A text, the option of a drop-down list, or the check boxes that are set."""
    if isinstance(value, dict):
        return tuple(options.get(one, one) for one, is_set in value.items() if is_set is True or is_set == "true")
    if isinstance(value, (bool, int, float)):
        return value
    return written(options.get(str(value), str(value)))


def _box(shape: Mapping[str, Any]) -> tuple[Box, str] | None:
    """The upright rectangle, and what was mended; ``None`` for points and lines."""
    kind = shape.get("name")
    if kind == "rect":
        x, y, width, height = _numbers(shape, ("x", "y", "width", "height"))
        return (x, y, x + width, y + height), ""
    if kind == "circle":
        x, y, radius = _numbers(shape, ("cx", "cy", "r"))
        return centred(x, y, 2 * radius, 2 * radius), OUTLINE
    if kind == "ellipse":
        x, y, across, down = _numbers(shape, ("cx", "cy", "rx", "ry"))
        theta = math.degrees(number(shape.get("theta", 0), "theta"))
        return turned(centred(x, y, 2 * across, 2 * down), theta, (x, y)), TURNED if theta else OUTLINE
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
            raise ValueError("all_points_x and all_points_y must be lists of one length")
        return around((number(x, "x"), number(y, "y")) for x, y in zip(xs, ys, strict=True)), OUTLINE
    return None


def _numbers(shape: Mapping[str, Any], names: Iterable[str]) -> list[float]:
    return [number(shape.get(name), name) for name in names]
