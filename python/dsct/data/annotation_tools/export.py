"""What an annotation tool exported: images, boxes, and what was said about each, before labels are numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsct.data.annotation_files.raw_annotations import Box, RawAnnotations, RawImage, RawPerson
from dsct.data.annotation_files.splits import split_from_name
from dsct.data.annotation_tools.image_names import image_names
from dsct.data.annotation_tools.labels import Said, both, labels_of

TURNED = "turned box, upright rectangle around it taken"
OUTLINE = "polygon, rectangle around it taken"
NO_BOX = "region that is no box"
WHOLE_IMAGE = "label of a whole image not read"
ONE_PLACE = "boxes at one place taken as one person"
OF_NO_SPLIT = "image that names no split"


@dataclass(frozen=True)
class Region:
    """One box and what the tool says about it.

    Attributes:
        box: ``x1 y1 x2 y2`` in pixels.
        names: labels of the box itself; empty if it has none.
        said: attribute, choice or flag -> its value.
    """

    box: Box
    names: tuple[str, ...] = ()
    said: Mapping[str, Said] = field(default_factory=dict)


@dataclass
class ToolImage:
    """One image of an export.

    Attributes:
        name: the path or URL as the tool writes it.
        size: (width, height), if the export states it.
        regions: the boxes.
        left_out: why regions were left out, one reason each.
        mended: what was corrected, one reason each.
    """

    name: str
    size: tuple[int, int] | None = None
    regions: list[Region] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)


class ToolExport:
    """An export, parsed once; its people can be numbered by its own labels or by those of another file.

    Args:
        path: of the export.
        form: what it is, such as ``"CVAT XML"``.
        parts: split -> images; the split ``""`` if the export names none.
        declared: class names in the order of the export, where it numbers them; otherwise labels are sorted.
        certain_sizes: the export states the sizes of its images.

    Raises:
        ValueError: it cannot be told which attribute holds the emotions.

    Example:
        >>> person = Region((10, 20, 50, 80), ("person",), {"happy": True, "sad": False, "age": "adult"})
        >>> export = ToolExport(Path("train.xml"), "CVAT XML", {"": [ToolImage("a.png", (64, 96), [person])]})
        >>> export.class_names(multi_label=False)
        ('happy',)
        >>> people = export.people(None, multi_label=False)
        >>> people.split, people.images[0].people[0].labels, people.images[0].people[0].attributes
        ('train', (0,), {'age': 'adult'})
    """

    def __init__(
        self,
        path: Path,
        form: str,
        parts: Mapping[str, list[ToolImage]],
        *,
        declared: Sequence[str] = (),
        certain_sizes: bool = True,
    ) -> None:
        self.path = path
        self.form = form
        self.parts = dict(parts)
        self.certain_sizes = certain_sizes
        for image in (image for images in parts.values() for image in images):
            _merge_boxes(image)
        regions = [region for images in parts.values() for image in images for region in image.regions]
        try:
            found, self.labels_from = labels_of([(region.names, region.said) for region in regions])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self._people = dict(zip(map(id, regions), found, strict=True))
        extra = {name for person in found for name in person.labels} - set(declared)
        self._names = (*declared, *sorted(extra)) if self.labels_from == "box labels" else tuple(sorted(extra))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of which the export has images; none if it names no split."""
        return tuple(split for split, images in self.parts.items() if split and images)

    def class_names(self, multi_label: bool) -> tuple[str, ...]:
        """The labels in the export, in its own order or sorted; `multi_label` makes no difference."""
        return self._names

    def people(self, class_names: Sequence[str] | None, multi_label: bool, split: str | None = None) -> RawAnnotations:
        """The images of the export.

        Args:
            class_names: C names that the labels must be among; ``None`` takes those of the export.
            multi_label: whether a person can have several.
            split: one of :attr:`splits`; ``None`` takes all images.

        Raises:
            ValueError: there is no such split, a label is unknown, or a person has several without `multi_label`.
        """
        if split is not None and split not in self.parts:
            raise ValueError(f"{self.path}: split must be one of {', '.join(self.splits) or 'none'}, got {split!r}")
        names = self._names if class_names is None else tuple(class_names)
        numbers = {name: number for number, name in enumerate(names)}
        parts = self.parts if split is None else {split: self.parts[split]}
        images = [self._raw(image, numbers, multi_label) for part in parts.values() for image in part]
        source = f"{self.form}, {'several labels' if multi_label else 'one label'} per person, from {self.labels_from}"
        of = split or next(iter(parts), "") or split_from_name(self.path)
        return RawAnnotations(self.path, of, images, names, multi_label, source, certain_sizes=self.certain_sizes)

    def part(
        self, split: str, class_names: Sequence[str] | None, multi_label: bool, val_fraction: float, seed: int
    ) -> RawAnnotations:
        """A split of an export that names splits; validation images are cut from the training images if it has none.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``.
            class_names: as in :meth:`people`.
            multi_label: as in :meth:`people`.
            val_fraction: share of the training images; 0 cuts none.
            seed: for this choice.

        Raises:
            FileNotFoundError: there are no such images.
            ValueError: as in :meth:`people`.
        """
        cut = "val" not in self.parts and split in ("train", "val") and val_fraction > 0
        source = "train" if cut else split
        if source not in self.splits:
            raise FileNotFoundError(
                f"{self.path}: no images of the split {split!r}; there are {', '.join(self.splits)}"
            )
        raw = self.people(class_names, multi_label, source)
        if source == "train":
            for image in self.parts.get("", ()):
                raw.changes.lose(OF_NO_SPLIT, image.name)
        return raw.part(split, val_fraction if cut else 0.0, seed)

    def _raw(self, image: ToolImage, numbers: Mapping[str, int], multi_label: bool) -> RawImage:
        name, *aliases = image_names(image.name)
        people = []
        for region in image.regions:
            person = self._people[id(region)]
            if unknown := [label for label in person.labels if label not in numbers]:
                raise ValueError(
                    f"{self.path}, {name}: label {unknown[0]!r} is none of the classes {', '.join(numbers)}"
                )
            if len(person.labels) > 1 and not multi_label:
                raise ValueError(
                    f"{self.path}, {name}: a person has the labels {', '.join(person.labels)}; several labels per "
                    "person need multi_label=True (--multi-label)"
                )
            labels = tuple(numbers[label] for label in person.labels)
            people.append(RawPerson(region.box, labels, person.continuous, person.attributes))
        return RawImage(name, image.size, people, list(image.left_out), tuple(image.mended), tuple(aliases))


def _merge_boxes(image: ToolImage) -> None:
    """Makes one person of boxes at one place: how tools without several labels per box give a person a second one."""
    by_box: dict[Box, Region] = {}
    for region in image.regions:
        if (first := by_box.get(region.box)) is None:
            by_box[region.box] = region
            continue
        names = tuple(dict.fromkeys([*first.names, *region.names]))
        by_box[region.box] = Region(region.box, names, both(first.said, region.said))
        image.mended.append(ONE_PLACE)
    image.regions = list(by_box.values())
