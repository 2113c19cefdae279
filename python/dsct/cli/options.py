"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from dsct.data.annotation_files.splits import split_called

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
AllowPartialOption = Annotated[
    bool,
    typer.Option("--allow-partial", help="Of weights of another architecture or backbone, take the parts that fit."),
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


def split_option(help: str) -> Any:
    """The option ``--split``, which takes a split under any name that people have for it."""
    return typer.Option(help=help, parser=_split, metavar="<train|val|test>")


def _split(name: str) -> Split:
    try:
        return Split(split_called(name))
    except ValueError as error:
        # What typer makes of a ValueError begins with its name.
        raise typer.BadParameter(str(error)) from error
