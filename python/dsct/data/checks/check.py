"""What is wrong with a data set, found before training starts and not in the third epoch.

``check`` reads every record and, by default, decodes every image. What would break training, or spoil it unnoticed,
is an error; what a researcher should know before quoting a number is a warning; the rest is a note.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsct.data.checks.findings import MOST_PLACES, Finding, Findings, Location
from dsct.data.checks.opened_records import AnnotatedSplit, Record, open_images, read_records
from dsct.data.checks.overlaps import alike_boxes
from dsct.data.checks.summary import Summary, class_membership, summarize
from dsct.data.crowding import crowding
from dsct.data.records import Annotations

OUTSIDE = 1.0  # pixels by which a box may leave the image: annotation tools round


@dataclass(frozen=True)
class CheckResult:
    """The result of `check`.

    Attributes:
        summaries: one per split.
        whole: of all splits together.
        findings: errors first.
    """

    summaries: tuple[Summary, ...]
    whole: Summary
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}


def check(
    splits: Sequence[AnnotatedSplit],
    *,
    decode: bool = True,
    max_images: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    num_subject_queries: int | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> CheckResult:
    """Reads all records, opens the images, and reports what is there and what is wrong.

    Args:
        splits: one data set per split, with different names.
        decode: decode the images fully; otherwise only their headers are read, and equal images are not found.
        max_images: open at most this many images per split, chosen at random; all records are read.
        seed: for that choice.
        workers: threads that open images.
        num_subject_queries: of the model that is to be trained; people beyond it are counted.
        on_image: called with the images opened so far and in total.

    Returns:
        Counts per split and findings.

    Raises:
        ValueError: there is no split, two have the same name, or `max_images` is negative.

    Example:
        >>> from dsct.data import SyntheticDataset
        >>> scenes = SyntheticDataset("val", size=20)
        >>> scenes.skipped, scenes.mended, scenes.examples, scenes.source = {}, {}, {}, "synthetic scenes"
        >>> result = check([scenes])
        >>> result.ok, result.whole.images
        (True, 20)
    """
    names = [data.split for data in splits]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"splits must be one data set or more, each of another split, got {names}")
    if max_images is not None and max_images < 0:
        raise ValueError(f"max_images must be 0 or more, got {max_images}")
    findings = Findings()
    records = open_images(read_records(splits, findings), decode, max_images, seed, workers, on_image)
    for record in records:
        _check_file(record, findings)
        _check_boxes(record, findings)
    summaries = []
    for data in splits:
        chosen = [record for record in records if record.split == data.split]
        _check_labels(chosen, data, findings)
        if absent := sum(record.annotations.image_path is None for record in chosen):
            findings.add("images not on disk", Location(data.split), absent)
        opened = sum(record.file is not None for record in chosen)
        annotations = [record.annotations for record in chosen]
        summaries.append(
            summarize(data.split, data.source, annotations, data.class_names, data.skipped, opened, data.mended)
        )
        _check_counts(summaries[-1], findings)
        if num_subject_queries is not None:
            _check_crowding(summaries[-1].split, annotations, num_subject_queries, findings)
    _check_splits(splits, findings)
    _check_repetitions(records, findings)
    return CheckResult(tuple(summaries), _of_all_splits(splits, records, summaries), findings.ordered())


def _check_file(record: Record, findings: Findings) -> None:
    if record.file is None:
        return
    if record.file.size is None:
        kind = "missing image" if record.file.missing else "broken image"
        findings.add(kind, record.at(record.file.problem))
        return
    width, height = record.annotations.size
    if record.file.size != (width, height):
        swapped = record.file.size == (height, width)
        kind = "width and height swapped" if swapped else "image size differs"
        findings.add(kind, record.at("record {} x {}, file {} x {}".format(width, height, *record.file.size)))


def _check_boxes(record: Record, findings: Findings) -> None:
    boxes = record.annotations.boxes
    if len(boxes) == 0:
        findings.add("image without people", record.at())
        return
    width, height = (record.file and record.file.size) or record.annotations.size
    for person, (x1, y1, x2, y2) in enumerate(boxes.tolist(), start=1):
        box = f"person {person}: {x1:g} {y1:g} {x2:g} {y2:g} in {width} x {height}"
        if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
            findings.add("box outside the image", record.at(box))
        elif min(x1, y1, width - x2, height - y2) < -OUTSIDE:
            findings.add("box leaves the image", record.at(box))
        if min(x2 - x1, y2 - y1) < 1:
            findings.add("degenerate box", record.at(f"person {person}: {x2 - x1:g} x {y2 - y1:g} px"))
    _check_overlaps(record, findings)


def _check_overlaps(record: Record, findings: Findings) -> None:
    equal, close = alike_boxes(torch.from_numpy(record.annotations.boxes), MOST_PLACES)
    for kind, pairs in (("duplicate box", equal), ("overlapping people", close)):
        for number, (first, second, iou) in enumerate(pairs.named, start=1):
            shown = "" if kind == "duplicate box" else f": IoU {iou:.2f}"
            # The last one that is named stands for those that are not.
            rest = pairs.count - number if number == len(pairs.named) else 0
            findings.add(kind, record.at(f"people {first + 1} and {second + 1}{shown}"), 1 + rest)


def _check_labels(records: list[Record], data: AnnotatedSplit, findings: Findings) -> None:
    num_classes = len(data.class_names)
    for record in records:
        labels = record.annotations.labels
        if (labels.ndim == 2) != data.multi_label or (labels.ndim == 2 and labels.shape[1] != num_classes):
            expected = f"(n, {num_classes}) of 0 and 1" if data.multi_label else "(n,) class numbers"
            findings.add("labels do not fit the classes", record.at(f"expected {expected}, got {labels.shape}"))
            continue
        for person in np.flatnonzero(~class_membership(labels, num_classes).any(1)).tolist():
            if data.multi_label:
                findings.add("person without a class", record.at(f"person {person + 1}"))
            else:
                detail = f"person {person + 1}: class {labels[person]}, the last is {num_classes - 1}"
                findings.add("labels do not fit the classes", record.at(detail))


def _check_counts(summary: Summary, findings: Findings) -> None:
    place = Location(summary.split)
    if summary.images == 0:
        findings.add("no images", place)
    if summary.people == 0:
        findings.add("no people", place)
        return
    for name, people in summary.people_per_class.items():
        if people == 0:
            findings.add("class without people", replace(place, detail=name))


def _check_crowding(split: str, annotations: Sequence[Annotations], queries: int, findings: Findings) -> None:
    crowded = crowding(map(len, annotations), queries)
    if crowded.beyond:
        findings.add("more people than subject queries", Location(split, detail=str(crowded)), crowded.beyond)


def _check_splits(splits: Sequence[AnnotatedSplit], findings: Findings) -> None:
    first = splits[0]
    for data in splits:
        for kind, reasons in (("skipped while reading", data.skipped), ("mended while reading", data.mended)):
            for reason, count in reasons.items():
                if count:
                    names = data.examples.get(reason, ())
                    such = f", such as {', '.join(names)}" if names else ""
                    findings.add(kind, Location(data.split, detail=f"{reason}: {count}{such}"), count)
        by_word: dict[str, list[str]] = defaultdict(list)
        for name in data.class_names:
            by_word["".join(name.split()).casefold()].append(name)
        for alike in by_word.values():
            if len(alike) > 1:
                detail = f"{', '.join(map(repr, alike))} count as different classes"
                findings.add("classes of nearly one name", Location(data.split, detail=detail))
        if (data.class_names, data.multi_label) != (first.class_names, first.multi_label):
            form = "several classes" if data.multi_label else "one class"
            detail = f"{len(data.class_names)} classes, {form} per person, not those of {first.split}"
            findings.add("classes differ between splits", Location(data.split, detail=detail))


def _check_repetitions(records: list[Record], findings: Findings) -> None:
    """The same file in several records, and files of the same content."""
    by_path: dict[Path, list[Record]] = defaultdict(list)
    by_content: dict[bytes, list[Record]] = defaultdict(list)
    for record in records:
        if (path := record.annotations.image_path) is None:
            continue
        if path not in by_path and record.file is not None and record.file.digest is not None:
            by_content[record.file.digest].append(record)
        by_path[path].append(record)
    for group in by_path.values():
        _add_repetition(group, "image in more than one split", "image listed more than once", findings)
    for group in by_content.values():
        _add_repetition(group, "same content in more than one split", "same content more than once", findings)


def _add_repetition(group: list[Record], across: str, within: str, findings: Findings) -> None:
    first = group[0]
    kind = across if len({record.split for record in group}) > 1 else within
    name = first.annotations.image_path.name if first.annotations.image_path else ""
    for record in group[1:]:
        # An image in two splits counts once, in the other split, however often each lists it.
        if kind == within or record.split != first.split:
            findings.add(kind, record.at(f"also {first.split} {first.index}, {name}"))


def _of_all_splits(splits: Sequence[AnnotatedSplit], records: list[Record], summaries: Sequence[Summary]) -> Summary:
    skipped: Counter[str] = sum((Counter(data.skipped) for data in splits), Counter())
    mended: Counter[str] = sum((Counter(data.mended) for data in splits), Counter())
    return summarize(
        "all",
        "; ".join(dict.fromkeys(data.source for data in splits)),
        [record.annotations for record in records],
        splits[0].class_names,
        skipped,
        sum(summary.opened for summary in summaries),
        mended,
    )
