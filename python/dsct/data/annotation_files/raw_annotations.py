"""The content of an annotation file, before any image has been opened: the form that all readers return."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

Box = tuple[float, float, float, float]
_MOST_EXAMPLES = 5


class TooFewImages(ValueError):
    """There are too few images to take validation images from them."""


@dataclass
class Changes:
    """What was lost and what was mended while reading a file.

    Attributes:
        lost: reason -> number of images or people that are not there.
        mended: reason -> number of images or people that were corrected.
        examples: reason -> the first few, by the name of the image or the place in the file.
    """

    lost: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def lose(self, reason: str, example: str) -> None:
        """Counts an image or person that is left out."""
        self.lost[reason] += 1
        self.show(reason, example)

    def mend(self, reason: str, example: str) -> None:
        """Counts an image or person that is corrected."""
        self.mended[reason] += 1
        self.show(reason, example)

    def show(self, reason: str, example: str) -> None:
        """Adds an example unless there are enough."""
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _MOST_EXAMPLES:
            examples.append(example)


@dataclass(frozen=True)
class RawPerson:
    """One person as an annotation file describes it, not yet checked.

    Attributes:
        box: ``x1 y1 x2 y2`` in pixels.
        labels: class numbers; empty for a person whom nobody labelled.
        continuous: valence, arousal and dominance in the unit of the file, if it states them.
        attributes: what else the file says about the person, such as ``{"gender": "Female"}``.
    """

    box: Box
    labels: tuple[int, ...]
    continuous: tuple[float, float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class RawImage:
    r"""One image as an annotation file describes it, not yet checked.

    Attributes:
        name: path of the image relative to the image root.
        size: (width, height), if the file states it.
        people: the people in it.
        left_out: why the reader left people out, one reason per person.
        mended: what the reader corrected about the image or its people, to be counted.
        aliases: other paths under which the image may be found.
        examples: a reason of these and where in the file it occurs.

    Backslashes in the name, as Windows writes them, become slashes.

    Example:
        >>> RawImage("images\\a.png").name
        'images/a.png'
    """

    name: str
    size: tuple[int, int] | None = None
    people: list[RawPerson] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    mended: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    examples: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if "\\" in self.name:
            self.aliases += (self.name,)
            self.mended += ("backslashes in a path",)
            self.examples.append(("backslashes in a path", self.name))
            self.name = self.name.replace("\\", "/")

    def leave_out(self, reason: str, place: str) -> None:
        """Notes that a person at this place of the file is left out."""
        self.left_out.append(reason)
        self.examples.append((reason, place))

    def mend(self, reason: str, place: str) -> None:
        """Notes that a person at this place of the file is corrected."""
        self.mended += (reason,)
        self.examples.append((reason, place))


@dataclass(frozen=True)
class RawAnnotations:
    """All images of an annotation file, or of one part of it.

    Attributes:
        path: of the file.
        split: the split of the data set.
        images: in the order of the file.
        class_names: C names, which the labels number.
        multi_label: whether a person can have several labels.
        source: one phrase about boxes and labels, for messages.
        certain_sizes: boxes refer to ``RawImage.size``, so an image file of another size does not belong to them;
            otherwise the size is a guess, used only where there is no image file.
        changes: what was lost and mended that belongs to no image.
    """

    path: Path
    split: str
    images: list[RawImage]
    class_names: tuple[str, ...]
    multi_label: bool
    source: str
    certain_sizes: bool = False
    changes: Changes = field(default_factory=Changes)

    def numbered(self, class_names: Sequence[str]) -> RawAnnotations:
        """The same people with their labels as numbers into other class names, by name.

        Raises:
            ValueError: somebody has a class that is not among `class_names`.
        """
        numbers = {name: number for number, name in enumerate(class_names)}
        images = []
        for image in self.images:
            people = []
            for person in image.people:
                names = [self.class_names[label] for label in person.labels]
                if unknown := [name for name in names if name not in numbers]:
                    known = ", ".join(class_names)
                    raise ValueError(f"{self.path}: {image.name}: {unknown[0]!r} is none of the classes {known}")
                people.append(replace(person, labels=tuple(numbers[name] for name in names)))
            images.append(replace(image, people=people))
        return replace(self, images=images, class_names=tuple(class_names))

    def part(self, split: str | None, fraction: float, seed: int, key: Callable[[str], str] = str) -> RawAnnotations:
        """The training or the validation part of training data, independent of the order of its images.

        Images are chosen by a hash of seed and name, so adding or removing an image moves hardly any other. If a
        person has one label, every class contributes nearly the same share, and its last image only where there is
        nothing else; the class of an image is the smallest class number in it. Of two images or more, each part gets
        one.

        Args:
            split: ``"train"`` or ``"val"``, or with `fraction` 0 any name; ``None`` keeps the current one.
            fraction: share of the validation part, in (0, 1); 0 uses all images for the split.
            seed: from 0 on; another seed gives another part.
            key: returns what is hashed as the name of an image.

        Returns:
            The images of the part, in their order; ``source`` says how they were chosen. What belongs to no image is
            counted in the training part.

        Raises:
            ValueError: `fraction` or `split` is out of range.
            TooFewImages: the validation part of a single image is asked for.

        Example:
            >>> images = [RawImage(name) for name in "abcd"]
            >>> raw = RawAnnotations(Path("all.csv"), "all", images, ("calm",), False, "one label per person")
            >>> val, train = (raw.part(split, 0.25, seed=0) for split in ("val", "train"))
            >>> len(val.images), sorted(image.name for image in val.images + train.images)
            (1, ['a', 'b', 'c', 'd'])
            >>> val.source
            'one label per person, val part of training data cut with val_fraction 0.25, seed 0'
        """
        split = split or self.split
        if fraction == 0:
            return replace(self, split=split)
        if not 0 < fraction < 1:
            raise ValueError(f"val_fraction must be between 0 and 1, got {fraction}")
        if split not in ("train", "val"):
            raise ValueError(f"split must be 'train' or 'val' to cut validation data from {self.path}, got {split!r}")
        if split == "val" and len(self.images) == 1:
            raise TooFewImages(
                f"{self.path}: 1 image is too few to cut a validation part from; add images, or validation data in a "
                f"file of their own, such as val{self.path.suffix}"
            )
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for number, image in enumerate(self.images):
            smallest = min((label for person in image.people for label in person.labels), default=-1)
            groups[0 if self.multi_label else smallest].append(number)
        draws = [hashlib.sha256(f"{seed}/{key(image.name)}".encode()).digest() for image in self.images]
        validation = _validation_part(list(groups.values()), draws, fraction)
        chosen = [image for number, image in enumerate(self.images) if (number in validation) == (split == "val")]
        how = f"{split} part of training data cut with val_fraction {fraction:.3g}, seed {seed}"
        changes = self.changes if split == "train" else Changes()
        return replace(self, split=split, images=chosen, source=f"{self.source}, {how}", changes=changes)


def _validation_part(groups: Sequence[Sequence[int]], draws: Sequence[bytes], fraction: float) -> set[int]:
    """Numbers of the images for validation: each group's share rounded down, the rest where most was cut off."""
    total = sum(map(len, groups))
    wanted = min(max(1, round(total * fraction)), total - 1)
    chosen: set[int] = set()
    candidates = []
    for group in groups:
        members = sorted(group, key=draws.__getitem__)
        share = len(members) * fraction
        whole = min(math.floor(share + 1e-9), len(members) - 1)
        chosen.update(members[:whole])
        is_last = whole == len(members) - 1
        candidates.append((is_last, round(whole - share, 9), draws[members[whole]], members[whole]))
    chosen.update(number for *_, number in sorted(candidates)[: max(0, wanted - len(chosen))])
    return chosen


def scaled(image: RawImage, size: tuple[int, int]) -> RawImage:
    """The image with boxes for a resized copy of it.

    Args:
        image: with the size to which its boxes refer.
        size: (width, height) of the copy.

    Example:
        >>> copy = scaled(RawImage("a.npy", (640, 480), [RawPerson((64, 48, 320, 240), (0,))]), (224, 224))
        >>> copy.people[0].box, copy.mended
        ((22.4, 22.4, 112.0, 112.0), ('boxes scaled to a resized copy',))
    """
    if image.size is None or image.size == size:
        return replace(image, size=size)
    across, down = size[0] / image.size[0], size[1] / image.size[1]
    people = [
        replace(one, box=(one.box[0] * across, one.box[1] * down, one.box[2] * across, one.box[3] * down))
        for one in image.people
    ]
    return replace(image, size=size, people=people, mended=(*image.mended, "boxes scaled to a resized copy"))


def extent(people: Iterable[RawPerson], at_least: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """The smallest (width, height) that contains some people: a guess if nothing else gives the size.

    Example:
        >>> extent([RawPerson((10, 20, 50, 80), (0,)), RawPerson((0, 0, 70.5, 10), (0,))])
        (71, 80)
    """
    width, height = at_least
    for _, _, x2, y2 in (person.box for person in people):
        if math.isfinite(x2) and math.isfinite(y2):
            width, height = max(width, math.ceil(x2)), max(height, math.ceil(y2))
    return width, height
