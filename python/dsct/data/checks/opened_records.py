"""The records of the splits that are checked, with their image files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dsct.data.checks.findings import Findings, Location
from dsct.data.checks.image_files import ImageFile, read_image_files
from dsct.data.records import Annotations


class AnnotatedSplit(Protocol):
    """What the check needs from a data set; it never indexes it, so no transform runs."""

    split: str
    class_names: tuple[str, ...]
    multi_label: bool
    skipped: dict[str, int]
    mended: dict[str, int]
    examples: dict[str, tuple[str, ...]]
    source: str

    def __len__(self) -> int: ...

    def annotations(self, index: int, /) -> Annotations: ...


@dataclass(frozen=True)
class Record:
    """One image of a split, with its file when that was opened."""

    split: str
    index: int
    annotations: Annotations
    file: ImageFile | None

    def at(self, detail: str = "") -> Location:
        path = self.annotations.image_path
        return Location(self.split, self.index, "" if path is None else str(path), detail)


def read_records(splits: Iterable[AnnotatedSplit], findings: Findings) -> list[Record]:
    """All records of all splits; one that cannot be read is a finding."""
    records = []
    for data in splits:
        for index in range(len(data)):
            try:
                records.append(Record(data.split, index, data.annotations(index), None))
            except (ValueError, OSError) as error:
                findings.add("record cannot be read", Location(data.split, index, detail=str(error)))
    return records


def open_images(
    records: list[Record],
    decode: bool,
    max_images: int | None,
    seed: int,
    workers: int | None,
    on_image: Callable[[int, int], None],
) -> list[Record]:
    """The records with their files; a file that two records name is opened once."""
    by_split = defaultdict(list)
    for record in records:
        if record.annotations.image_path is not None:
            by_split[record.split].append(record.annotations.image_path)
    rng = np.random.default_rng(seed)
    paths: dict[Path, None] = {}
    for listed in by_split.values():
        count = len(listed) if max_images is None else min(max_images, len(listed))
        paths.update(dict.fromkeys(listed[i] for i in np.sort(rng.permutation(len(listed))[:count])))
    done = iter(range(1, len(paths) + 1))
    read = read_image_files(list(paths), decode, workers, lambda: on_image(next(done), len(paths)))
    files = dict(zip(paths, read, strict=True))
    return [
        Record(record.split, record.index, record.annotations, None if path is None else files.get(path))
        for record in records
        for path in [record.annotations.image_path]
    ]
