"""CSV files of detection data: the columns of VoTT, of TensorFlow, and others that differ in the names only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from dsct.data.annotation_files.csv_table import read_header, read_table
from dsct.data.annotation_files.raw_annotations import Box
from dsct.data.annotation_files.splits import split_of_folder
from dsct.data.annotation_tools.documents import number, whole_size
from dsct.data.annotation_tools.export import Region, ToolExport, ToolImage
from dsct.data.annotation_tools.labels import speaks_of_emotions, written

_MEANINGS = {
    "image": ("image", "filename", "file_name", "path", "image_path", "file", "image_name", "img", "image_id"),
    "label": ("label", "class", "class_name", "name", "category", "label_name", "emotion", "labels", "emotions"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "x": ("x", "bbox_x", "box_x"),
    "y": ("y", "bbox_y", "box_y"),
    "w": ("w", "bbox_width", "bbox_w", "box_width", "width"),
    "h": ("h", "bbox_height", "bbox_h", "box_height", "height"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "split": ("split", "subset", "set"),
}
_CORNERS, _SIDES, _SIZE = ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"), ("width", "height")


def is_table(header: Iterable[str]) -> bool:
    """Whether a CSV with this header holds boxes with labels.

    Example:
        >>> is_table(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]), is_table(["a", "b"])
        (True, False)
    """
    return _columns(header) is not None


def read_table_of_boxes(path: Path) -> ToolExport:
    """A row per person; several labels are separated by ``|``. A row without box and label is an image without people.

    Args:
        path: the file. Upper and lower case of the names of columns does not matter.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or a row is malformed; the message names the line.
    """
    columns = _columns(read_header(path))
    if columns is None:
        raise ValueError(
            f"{path}: columns for image, label and box are needed, such as image,xmin,ymin,xmax,ymax,label"
        )
    corners = [columns[name] for name in (_CORNERS if "x1" in columns else _SIDES)]
    images: dict[tuple[str, str], ToolImage] = {}
    for line, row in read_table(path, ()):
        try:
            name = row[columns["image"]]
            if not name:
                raise ValueError(f"{columns['image']} must not be empty")
            split = split_of_folder(row.get(columns.get("split", ""), "")) or ""
            image = images.setdefault(
                (split, name), ToolImage(name, whole_size(*(row.get(columns.get(one, ""), "") for one in _SIZE)))
            )
            if not any(row[column] for column in (*corners, columns["label"])):
                continue
            labels = tuple(part.strip() for part in row[columns["label"]].split("|") if part.strip())
            rest = {one: text for one, text in row.items() if one not in columns.values() and text}
            said = {
                one: tuple(text.split("|")) if speaks_of_emotions(one) else written(text) for one, text in rest.items()
            }
            image.regions.append(Region(_box(row, corners, "x1" in columns), labels, said))
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
    parts: dict[str, list[ToolImage]] = {}
    for (split, _), image in images.items():
        parts.setdefault(split, []).append(image)
    sized = all(image.size for image in images.values())
    return ToolExport(path, "CSV", parts, certain_sizes=sized)


def _columns(header: Iterable[str]) -> dict[str, str] | None:
    """Meaning -> name of the column; ``None`` without image, label and box."""
    by_name = {name.strip().lower().replace(" ", "_"): name.strip() for name in reversed(list(header))}
    found: dict[str, str] = {}
    corners = {"x1", "y1", "x2", "y2"} <= {
        meaning for meaning in _CORNERS if any(name in by_name for name in _MEANINGS[meaning])
    }
    for meaning, names in _MEANINGS.items():
        if meaning in (_SIDES if corners else (*_CORNERS, *_SIZE)):
            continue
        column = next(
            (by_name[name] for name in names if name in by_name and by_name[name] not in found.values()), None
        )
        if column is not None:
            found[meaning] = column
    if not corners:
        for meaning in _SIZE:
            column = next((by_name[name] for name in _MEANINGS[meaning][1:] if name in by_name), None)
            if column is not None and column not in found.values():
                found[meaning] = column
    needed = {"image", "label", *(_CORNERS if corners else _SIDES)}
    return found if needed <= set(found) else None


def _box(row: Mapping[str, str], columns: list[str], corners: bool) -> Box:
    x, y, across, down = (number(row[column], column) for column in columns)
    return (x, y, across, down) if corners else (x, y, x + across, y + down)
