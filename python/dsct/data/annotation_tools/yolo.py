"""YOLO: a text file with fractions of the image beside each image, and the names of the classes in YAML or text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsct.data.annotation_files.splits import split_of_folder, split_of_folders
from dsct.data.annotation_tools.export import OUTLINE, Region, ToolExport, ToolImage
from dsct.data.annotation_tools.geometry import around, centred
from dsct.data.image_io import upright_size

_IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "obj_train_data/classes.txt")
_NOT_A_LINE = "line that is no box"


@dataclass(frozen=True)
class _Classes:
    """Class number -> name; `pose` says that points follow the box in a line."""

    names: dict[int, str]
    pose: bool = False


def read_yolo(path: Path) -> ToolExport:
    """Boxes of all splits; of turned boxes and outlines the rectangle around them.

    Labels are in ``labels`` where the images are in ``images``, or beside the images. An image without a file of labels
    shows nobody. Lines of one image with the same box are one person with several labels.

    Args:
        path: ``data.yaml``, or a folder with it or with ``classes.txt`` or ``obj.names``.

    Raises:
        FileNotFoundError: there is no such file, or none with class names.
        ValueError: the class names are malformed, a class number has no name, or there are no images.
    """
    source = path if path.is_file() else names_file(path)
    if source is None:
        raise FileNotFoundError(f"{path}: no data.yaml, classes.txt or obj.names with the names of the classes")
    content = _load(source)
    try:
        classes = _Classes(_names(content), isinstance(content, dict) and "kpt_shape" in content)
        folder = source.parent.parent if source.parent.name in ("labels", "obj_train_data") else source.parent
        parts = {
            split: [_image(image, folder, classes) for image in images]
            for split, images in _images(content if isinstance(content, dict) else {}, folder).items()
        }
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if not any(parts.values()):
        raise ValueError(f"{source}: there are no images in {folder}, so fractions cannot become pixels")
    return ToolExport(source, "YOLO", parts, declared=list(classes.names.values()))


def names_file(folder: Path) -> Path | None:
    """The file with the class names of a data set in YOLO's form, if the folder has one."""
    found = [path for suffix in ("yaml", "yml") for path in sorted(folder.glob(f"*.{suffix}")) if is_yolo(path)]
    found += [folder / name for name in _NAME_FILES if (folder / name).is_file()]
    return found[0] if found else None


def is_yolo(path: Path) -> bool:
    """Whether a YAML file names classes."""
    try:
        content = _load(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and isinstance(content.get("names"), (list, dict))


def _load(path: Path) -> Any:
    """The content of a YAML file; of any other the lines."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix not in (".yaml", ".yml"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        import yaml
    except ImportError as error:
        raise ImportError("reading data.yaml needs PyYAML, which is not installed: pip install 'dsct[yaml]'") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not a YAML file: {error}") from error


def _names(content: Any) -> dict[int, str]:
    given = content.get("names") if isinstance(content, dict) else content
    try:
        pairs = given.items() if isinstance(given, dict) else enumerate(given or ())
        names = {int(number): str(name).strip() for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError(f"names must be a list, or numbers and names, got {given!r}") from error
    if not names or not all(names.values()) or len(set(names.values())) < len(names):
        raise ValueError(f"names must be different and not blank, got {given!r}")
    return dict(sorted(names.items()))


def _images(content: dict[str, Any], folder: Path) -> dict[str, list[Path]]:
    """Image files by split: as the YAML says, or else as the folders are called."""
    stated = {split: value for key, value in content.items() if (split := split_of_folder(str(key))) and value}
    if stated:
        found = {split: list(_listed(folder, content.get("path"), value)) for split, value in stated.items()}
        if any(found.values()):
            return found
    by_split: dict[str, list[Path]] = {}
    for image in _files(folder):
        by_split.setdefault(split_of_folders(image.relative_to(folder)), []).append(image)
    return by_split


def _listed(folder: Path, base: Any, entries: Any) -> Iterator[Path]:
    """The images of one split: a folder, a text file of paths, or several of these."""
    for entry in entries if isinstance(entries, list) else [entries]:
        place = _existing(folder, base, str(entry))
        if place is not None and place.is_dir():
            yield from _files(place)
        elif place is not None:
            for line in place.read_text(encoding="utf-8-sig").splitlines():
                if line.strip():
                    # One that is missing is counted as such.
                    yield _existing(folder, base, line.strip()) or folder / line.strip()


def _existing(folder: Path, base: Any, written: str) -> Path | None:
    """A path of the YAML, which often begins as on another computer or with a ``..`` too many."""
    path = Path(written.replace("\\", "/"))
    bases = [folder / str(base), folder] if base else [folder]
    tails = [Path(*path.parts[start:]) for start in range(1, len(path.parts))]
    places = [one / path for one in bases] + [folder / tail for tail in tails]
    return next(
        (place for place in places if place.exists() and place.resolve().is_relative_to(folder.resolve())), None
    ) or next((place for place in places if place.exists()), None)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES and path.is_file())


def _image(path: Path, folder: Path, classes: _Classes) -> ToolImage:
    # Without ``..``, but with links as they are called: what they lead to may have another name.
    place, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    name = place.relative_to(base).as_posix() if place.is_relative_to(base) else place.as_posix()
    try:
        image = ToolImage(name, upright_size(path))
    except OSError:
        return ToolImage(name)
    labels = next((one for one in _label_files(path) if one.is_file()), None)
    if labels is None:
        return image
    for number, line in enumerate(labels.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            try:
                _add(image, line.split(), classes)
            except KeyError as error:
                known = ", ".join(map(str, classes.names))
                raise ValueError(f"{labels}, line {number}: class {error} has no name; there are {known}") from error
    return image


def _label_files(image: Path) -> list[Path]:
    """Where the labels of an image may be."""
    parts = list(image.parts)
    found = []
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].lower() in ("images", "jpegimages"):
            found.append(Path(*parts[:place], "labels", *parts[place + 1 :]).with_suffix(".txt"))
    beside = image.with_suffix(".txt")
    return [*found, beside, image.parent / "labels" / beside.name]


def _add(image: ToolImage, words: list[str], classes: _Classes) -> None:
    """A line: class, centre and size; or class and corners; as fractions of the image."""
    assert image.size is not None
    try:
        number, *values = [float(word) for word in words]
    except ValueError:
        number, values = 0.5, []
    outline = len(values) >= 6 and len(values) % 2 == 0 and not classes.pose
    if not number.is_integer() or not (outline or len(values) in (4, 5) or (classes.pose and len(values) > 5)):
        image.left_out.append(_NOT_A_LINE)
        return
    width, height = image.size
    if outline:
        box = around(zip(values[::2], values[1::2], strict=True))
        image.mended.append(OUTLINE)
    else:
        x, y, across, down = values[:4]
        box = centred(x, y, across, down)
    pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    image.regions.append(Region(pixels, (classes.names[int(number)],)))
