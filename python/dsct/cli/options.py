"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the data set: annotations and images as unpacked. Not for synthetic."),
]
AnnotationsOption = Annotated[
    Path | None, typer.Option(help="This annotation file, instead of looking for one in --data.")
]
LabelsOption = Annotated[str | None, typer.Option(help="combined or union, if Annotations.mat has several annotators.")]
MultiLabelOption = Annotated[
    bool, typer.Option("--multi-label", help="Several labels per person: for synthetic and coco.")
]

ValFractionOption = Annotated[
    float | None,
    typer.Option(help="Share of the training images that validation takes where it has no file: by default 1/7."),
]


class DatasetName(str, Enum):
    """Data sets that a command can work on."""

    synthetic = "synthetic"
    emotic = "emotic"
    caer_s = "caer-s"
    coco = "coco"


class Split(str, Enum):
    """Parts of a data set."""

    train = "train"
    val = "val"
    test = "test"
