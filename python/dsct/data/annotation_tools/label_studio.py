"""Label Studio: JSON and JSON-MIN."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.raw_annotations import Box
from dsct.data.annotation_tools.documents import number, whole_size
from dsct.data.annotation_tools.export import NO_BOX, OUTLINE, TURNED, WHOLE_IMAGE, Region, ToolExport, ToolImage
from dsct.data.annotation_tools.geometry import around, centred, turned
from dsct.data.annotation_tools.labels import Said, speaks_of_emotions
from dsct.json_text import read_json

Entry = dict[str, Any]
_LATEST = "several annotations of an image, the latest taken"
_NOBODY = "image that nobody annotated"
_NO_BOXES = ("brush", "keypoint", "rectangle", "ellipse", "polygon", "vector", "bitmask")
_GEOMETRY = frozenset({"x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "closed"})


def read_label_studio(path: Path) -> ToolExport:
    """Rectangles, ellipses and polygons with their labels, and the choices, ratings and texts of each region.

    Coordinates are percent of the image; a rectangle is turned clockwise about its upper left corner, in pixels. Of
    several annotations of an image the latest counts that was not cancelled, or the ground truth.

    Args:
        path: the file, JSON or JSON-MIN.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed, or a JSON-MIN does not say to which box a choice belongs.
    """
    images = []
    for place, task in enumerate(read_json(path)):
        try:
            images.append(_task(task) if _is_full(task) else _minimal(task))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: task {task.get('id', place) if isinstance(task, dict) else place}: {error}"
            ) from error
    return ToolExport(path, "Label Studio JSON", {"": images}, certain_sizes=all(image.size for image in images))


def is_label_studio(content: Any) -> bool:
    """Whether the content of a JSON file is an export of Label Studio."""
    if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
        return False
    return all(_is_full(task) for task in content) or any(_rows(task) or "annotation_id" in task for task in content)


def _is_full(task: Entry) -> bool:
    return isinstance(task.get("data"), dict) and isinstance(task.get("annotations", task.get("completions")), list)


def _task(task: Entry) -> ToolImage:
    image = ToolImage(_image_of(task["data"]))
    given = [one for one in task.get("annotations") or task.get("completions") or [] if not _cancelled(one)]
    if not given:
        image.left_out.append(_NOBODY)
        return image
    chosen = max(given, key=lambda one: (bool(one.get("ground_truth")), str(one.get("created_at", ""))))
    if len(given) > 1:
        image.mended.append(_LATEST)
    _add_results(image, [one for one in chosen.get("result") or [] if isinstance(one, dict)])
    return image


def _cancelled(annotation: Entry) -> bool:
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))


def _image_of(data: Entry) -> str:
    """The path of the image among the data of a task."""
    texts = {name: value for name, value in data.items() if isinstance(value, str) and value.strip()}
    named = [
        value for name, value in texts.items() if name.lower() in ("image", "img", "ocr", "photo", "image_url", "url")
    ]
    paths = [value for value in texts.values() if "/" in value or "." in value]
    if not (found := named or paths):
        raise ValueError(f"the data must name an image, got {', '.join(data) or 'nothing'}")
    return found[0]


def _add_results(image: ToolImage, results: list[Entry]) -> None:
    """Regions are what results of one id describe together; a result without geometry may name its region instead."""
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    drawn = {one.get("id") for one in results if _is_drawn(one.get("value"))}
    for place, one in enumerate(results):
        own = one.get("id") if one.get("id") in drawn else one.get("parentID")
        groups[str(own if own in drawn else f"alone {place}")].append(one)
    for group in groups.values():
        shape = next((one for one in group if _is_drawn(one.get("value"))), None)
        size = next(
            filter(None, (whole_size(one.get("original_width"), one.get("original_height")) for one in group)), None
        )
        image.size = image.size or size
        if shape is not None:
            values = [(str(one.get("from_name", "")), one.get("value") or {}) for one in group]
            _add_region(image, shape["value"], size, values)
        elif group[0].get("type") != "relation":
            kind = str(group[0].get("type")).removesuffix("labels")
            if kind in _NO_BOXES:
                image.left_out.append(f"{NO_BOX}: {kind}")
            else:
                image.mended.append(WHOLE_IMAGE)


def _is_drawn(value: Any) -> bool:
    """Whether a value is a rectangle, an ellipse or a polygon."""
    return isinstance(value, dict) and (
        ({"x", "y", "width", "height"} <= set(value) and "keypointlabels" not in value)
        or {"x", "y", "radiusX", "radiusY"} <= set(value)
        or isinstance(value.get("points"), list)
    )


def _add_region(image: ToolImage, shape: Entry, size: tuple[int, int] | None, values: list[tuple[str, Entry]]) -> None:
    if size is None:
        raise ValueError("original_width and original_height are missing, so percent cannot become pixels")
    box, mended = _box(shape, size)
    image.mended += mended
    names: list[str] = []
    said: dict[str, Said] = {}
    for control, value in values:
        for key, content in value.items():
            if key == "labels" or (key.endswith("labels") and isinstance(content, list)):
                names += map(str, content)
            elif key not in _GEOMETRY:
                said[control or key] = _said(content)
    image.regions.append(Region(box, tuple(dict.fromkeys(names)), said))


def _said(content: Any) -> Said:
    if isinstance(content, (bool, int, float, str)):
        return content
    if isinstance(content, list):
        # A taxonomy is a list of paths, of which the last step says most.
        return tuple(str(one[-1] if isinstance(one, list) and one else one) for one in content)
    return str(content)


def _box(shape: Entry, size: tuple[int, int]) -> tuple[Box, list[str]]:
    """The upright rectangle in pixels, and what was mended."""
    width, height = size
    if isinstance(shape.get("points"), list):
        points = [(number(x, "x") * width / 100, number(y, "y") * height / 100) for x, y in shape["points"]]
        return around(points), [OUTLINE]
    x, y = number(shape["x"], "x") * width / 100, number(shape["y"], "y") * height / 100
    degrees = number(shape.get("rotation") or 0, "rotation") % 360
    if "radiusX" in shape:
        across = number(shape["radiusX"], "radiusX") * width / 50
        down = number(shape["radiusY"], "radiusY") * height / 50
        box = centred(x, y, across, down)
    else:
        across, down = number(shape["width"], "width") * width / 100, number(shape["height"], "height") * height / 100
        box = (x, y, x + across, y + down)
    return (turned(box, degrees, (x, y)), [TURNED]) if degrees else (box, [])


def _rows(task: Entry) -> dict[str, list[Entry]]:
    """The lists of values in a task of a JSON-MIN, by control."""
    found = {name: value for name, value in task.items() if isinstance(value, list) and value}
    return {
        name: [one for one in value if isinstance(one, dict)]
        for name, value in found.items()
        if any(_is_drawn(one) for one in value)
    }


def _minimal(task: Entry) -> ToolImage:
    """A task of a JSON-MIN, where values of one region have nothing in common but their geometry."""
    image = ToolImage(
        _image_of({name: value for name, value in task.items() if name not in ("created_at", "updated_at")})
    )
    groups: defaultdict[str, list[tuple[str, Entry]]] = defaultdict(list)
    sizes: dict[str, tuple[int, int] | None] = {}
    for control, values in _rows(task).items():
        for value in values:
            key = str(sorted((name, str(value[name])) for name in value if name in _GEOMETRY))
            groups[key].append(
                (control, {name: one for name, one in value.items() if not name.startswith("original_")})
            )
            sizes[key] = sizes.get(key) or whole_size(value.get("original_width"), value.get("original_height"))
    loose = {name: value for name, value in task.items() if name not in _rows(task) and _is_choice(name, value)}
    if loose and len(groups) > 1:
        raise ValueError(
            f"a JSON-MIN does not say to which of {len(groups)} boxes {', '.join(loose)} belongs; export as JSON"
        )
    for key, described in groups.items():
        everything = described + [(name, {"choices": _choices(value)}) for name, value in loose.items()]
        image.size = image.size or sizes[key]
        shape = {name: one for name, one in described[0][1].items() if name in _GEOMETRY}
        _add_region(image, shape, sizes[key], everything)
    return image


def _is_choice(name: str, value: Any) -> bool:
    """Choices of which some lost their geometry: a JSON-MIN writes a single one as mere text, as it does the data."""
    if isinstance(value, str):
        return speaks_of_emotions(name)
    if isinstance(value, dict):
        return isinstance(value.get("choices"), list)
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) or _is_choice("", one) for one in value)


def _choices(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [str(one) for one in value["choices"]]
    return [text for one in value for text in _choices(one)]
