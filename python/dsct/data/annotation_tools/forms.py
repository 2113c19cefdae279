"""Which tool wrote a file or folder, by its content."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from dsct.data.annotation_files.csv_table import read_header
from dsct.data.annotation_tools.cvat_xml import read_cvat_xml
from dsct.data.annotation_tools.documents import load_xml
from dsct.data.annotation_tools.export import ToolExport
from dsct.data.annotation_tools.label_studio import is_label_studio, read_label_studio
from dsct.data.annotation_tools.labelme import is_labelme, read_labelme
from dsct.data.annotation_tools.table import is_table, read_table_of_boxes
from dsct.data.annotation_tools.via import CSV_COLUMNS, is_via_json, read_via_csv, read_via_json
from dsct.data.annotation_tools.voc_xml import read_voc
from dsct.data.annotation_tools.yolo import is_yolo, names_file, read_yolo
from dsct.json_text import read_json

Reader: TypeAlias = Callable[[Path], ToolExport]

FORMS = (
    "Label Studio JSON, CVAT XML for images 1.1, YOLO, Pascal VOC XML, VIA JSON or CSV, labelme JSON, or a CSV with "
    "columns for image, label and box"
)
_OWN_COLUMNS = {"path", "x1", "y1", "x2", "y2", "label"}


def recognise(path: str | os.PathLike[str]) -> Reader | None:
    """The reader for a file or folder.

    Args:
        path: an export; or the folder of one that has a file per image, or ``data.yaml``.

    Returns:
        A function that reads it, or ``None`` if no annotation tool's form is recognised, as for COCO JSON and the CSV
        with the columns ``path, x1, y1, x2, y2, label``.

    Raises:
        FileNotFoundError: there is no such file or folder.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "export.csv"
        >>> _ = file.write_text("image,xmin,ymin,xmax,ymax,label")
        >>> recognise(file).__name__
        'read_table_of_boxes'
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _of_folder(path)
    try:
        return _of_file(path)
    except ValueError:
        return None


def read(path: str | os.PathLike[str]) -> ToolExport:
    r"""Reads what an annotation tool exported.

    Args:
        path: as in :func:`recognise`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it has none of the forms that are read, or is malformed.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "export.csv"
        >>> _ = file.write_text("image,xmin,ymin,xmax,ymax,label\na.png,1,2,30,40,calm")
        >>> read(file).people(None, multi_label=False).images[0].people[0].box
        (1.0, 2.0, 30.0, 40.0)
    """
    reader = recognise(path)
    if reader is None:
        raise ValueError(f"{path}: not the export of an annotation tool that is read: {FORMS}")
    return reader(Path(path))


def find(folder: Path) -> Path | None:
    """The export in a folder: the folder itself if it has a file per image or YOLO's labels, or its only export file.

    Raises:
        ValueError: there are several export files.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> find(folder) is None
        True
    """
    if recognise(folder) is not None:
        return folder
    places = [folder, folder / "annotations", folder / "Annotations"]
    files = [file for place in places if place.is_dir() for file in _candidates(place)]
    found = [file for number, file in enumerate(files) if recognise(file) and not _seen(file, files[:number])]
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in found)
        raise ValueError(f"{folder} holds several exports; name one of {names} with --annotations")
    return found[0] if found else None


def _seen(file: Path, others: list[Path]) -> bool:
    """On a file system that ignores case, two places may be one."""
    return any(file.samefile(other) for other in others)


def _candidates(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".json", ".xml", ".csv"))


def _of_folder(folder: Path) -> Reader | None:
    if names_file(folder) is not None:
        return read_yolo
    for pattern, reader in (("*.xml", read_voc), ("*.json", read_labelme)):
        first = next(iter(sorted(folder.rglob(pattern))), None)
        if first is not None and recognise(first) is reader:
            return reader
    return None


def _of_file(path: Path) -> Reader | None:
    suffix = path.suffix.lower()
    if suffix == ".xml":
        return {"annotations": read_cvat_xml, "annotation": read_voc}.get(load_xml(path).tag)
    if suffix in (".yaml", ".yml"):
        return read_yolo if is_yolo(path) else None
    if suffix == ".csv":
        header = read_header(path)
        if set(CSV_COLUMNS) <= set(header):
            return read_via_csv
        return read_table_of_boxes if is_table(header) and not set(header) >= _OWN_COLUMNS else None
    if suffix != ".json":
        return None
    content = read_json(path)
    forms = ((is_label_studio, read_label_studio), (is_labelme, read_labelme), (is_via_json, read_via_json))
    return next((reader for matches, reader in forms if matches(content)), None)
