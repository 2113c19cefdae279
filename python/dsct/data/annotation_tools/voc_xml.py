"""Pascal VOC: an XML file per image, as LabelImg, Roboflow and CVAT write it."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from xml.etree.ElementTree import Element

from dsct.data.annotation_files.raw_annotations import Box
from dsct.data.annotation_files.splits import split_of_folder, split_of_folders
from dsct.data.annotation_tools.documents import load_xml, number, whole_size
from dsct.data.annotation_tools.export import NO_BOX, OUTLINE, TURNED, Region, ToolExport, ToolImage
from dsct.data.annotation_tools.geometry import around, centred, turned
from dsct.data.annotation_tools.labels import Said, written


def read_voc(path: Path) -> ToolExport:
    """Objects with their names and attributes; of turned boxes and polygons the rectangle around them.

    The split of an image is that of its folder, or of the lists in ``ImageSets/Main``.

    Args:
        path: a folder, read with its subfolders, or a single XML file.

    Raises:
        FileNotFoundError: there is no such file, or no XML file of this form.
        ValueError: a file is malformed; the message names it.
    """
    folder = path if path.is_dir() else path.parent
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    listed = _lists(folder)
    parts: defaultdict[str, list[ToolImage]] = defaultdict(list)
    for file in files:
        root = load_xml(file)
        if root.tag != "annotation":
            continue
        place = file.relative_to(folder)
        try:
            image = _image(root, place)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        parts[split_of_folders(place) or listed.get(file.stem, "")].append(image)
    if not parts:
        raise FileNotFoundError(f"{path}: no XML file whose root is <annotation>")
    sized = all(image.size for images in parts.values() for image in images)
    return ToolExport(path, "Pascal VOC XML", parts, certain_sizes=sized)


def _lists(folder: Path) -> dict[str, str]:
    """Name without suffix -> split, from ``ImageSets/Main/{train,val,test}.txt``."""
    return {
        line.split()[0]: split
        for file in sorted(folder.glob("ImageSets/Main/*.txt"))
        if (split := split_of_folder(file.stem)) is not None
        for line in file.read_text(encoding="utf-8-sig").splitlines()
        if line.strip()
    }


def _image(root: Element, place: Path) -> ToolImage:
    size = root.find("size")
    name = (root.findtext("filename") or place.stem).strip().replace("\\", "/")
    beside = (place.parent / name.rpartition("/")[2]).as_posix() if place.parent.name != "Annotations" else name
    image = ToolImage(beside)
    if size is not None:
        image.size = whole_size(size.findtext("width"), size.findtext("height"))
    for one in root.findall("object"):
        _add(image, one)
    return image


def _add(image: ToolImage, entry: Element) -> None:
    name = (entry.findtext("name") or "").strip()
    said: dict[str, Said] = {}
    for attribute in entry.iter("attribute"):
        said[(attribute.findtext("name") or "").strip()] = written(attribute.findtext("value") or "")
    found = _box(entry, said)
    if found is None:
        image.left_out.append(NO_BOX)
        return
    box, mended = found
    image.mended += [mended] if mended else []
    image.regions.append(Region(box, (name,) if name else (), said))


def _box(entry: Element, said: dict[str, Said]) -> tuple[Box, str] | None:
    """The upright rectangle, and what was mended."""
    if (tilted := entry.find("robndbox")) is not None:
        x, y, width, height = (_number(tilted, name) for name in ("cx", "cy", "w", "h"))
        return turned(centred(x, y, width, height), math.degrees(_number(tilted, "angle")), (x, y)), TURNED
    if (corners := entry.find("bndbox")) is not None:
        x1, y1, x2, y2 = (_number(corners, name) for name in ("xmin", "ymin", "xmax", "ymax"))
        box = (x1, y1, x2, y2)
        # CVAT writes the box before it is turned, and the angle as an attribute.
        if degrees := number(said.get("rotation", 0) or 0, "rotation") % 360:
            return turned(box, degrees, ((x1 + x2) / 2, (y1 + y2) / 2)), TURNED
        return box, ""
    if (outline := entry.find("polygon")) is not None:
        values = {child.tag: child.text for child in outline}
        points = [
            (number(values[f"x{tag[1:]}"], tag), number(values.get(f"y{tag[1:]}"), tag))
            for tag in values
            if tag[0] == "x"
        ]
        return around(points), OUTLINE
    return None


def _number(parent: Element, name: str) -> float:
    return number(parent.findtext(name), name)
