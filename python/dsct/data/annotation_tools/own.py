"""Your own data, in our form or in that of an annotation tool."""

from __future__ import annotations

from pathlib import Path

from dsct.data.annotation_files.own_csv import OwnCsv
from dsct.data.annotation_files.own_json import OwnJson
from dsct.data.annotation_tools.export import ToolExport
from dsct.data.annotation_tools.forms import FORMS, recognise


def read_own(path: Path) -> OwnCsv | OwnJson | ToolExport:
    """Reads a file or folder, told by its content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no form that is read.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in (".json", ".csv"):
        reader = recognise(path)
        if reader is None:
            raise ValueError(f"{path}: not in a form that is read: COCO JSON, {FORMS}")
        return reader(path)
    # Our own forms are read once; those of tools are tried on what is none of them.
    try:
        return OwnCsv(path) if suffix == ".csv" else OwnJson(path)
    except ValueError as error:
        if (reader := recognise(path)) is None:
            raise ValueError(f"{error}; other forms that are read: {FORMS}") from error
        return reader(path)
