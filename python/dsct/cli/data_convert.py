"""``dsct data convert``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dsct.cli.datasets import describe
from dsct.cli.errors import one_line_errors
from dsct.cli.options import LabelsOption, MultiLabelOption, Split, split_option
from dsct.data.conversion import Converted, convert


class SourceName(str, Enum):
    """What a source can be."""

    emotic = "emotic"
    caer_s = "caer-s"
    coco = "coco"


class Images(str, Enum):
    """What becomes of the images."""

    link = "link"
    copy = "copy"
    none = "none"


@one_line_errors
def convert_data(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="An annotation file or folder, of any form that is read.")
    ],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write, or a .json file.")],
    name: Annotated[SourceName | None, typer.Option(help="What SRC contains; by default recognised.")] = None,
    split: Annotated[
        list[Split] | None, split_option("Only this split; repeat for several. Names all of an undivided SRC.")
    ] = None,
    labels: LabelsOption = None,
    multi_label: MultiLabelOption = False,
    images: Annotated[
        Images, typer.Option(help="Hard links to the images, copies, or annotations only.")
    ] = Images.link,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Convert annotations of any form that is read to COCO JSON, with the images beside it.

    Reads exports of Label Studio, CVAT, YOLO, Pascal VOC, VIA, labelme and CSV forms, EMOTIC and CAER-S.
    """
    written = convert(
        source,
        destination,
        name=None if name is None else name.value,
        splits=[one.value for one in split or []],
        labels=labels,
        multi_label=multi_label,
        images=images.value,
        overwrite=force,
    )
    for one in written:
        typer.echo(describe(one.data))
        typer.echo(f"wrote {one.path}{_images(one)}")
    several = " --multi-label" if written[0].data.multi_label else ""
    path = written[0].path
    # Beside a file that the user named, other annotations may lie.
    named = f" --annotations {path.name} --split train" if destination.suffix == ".json" else ""
    typer.echo(f"check it with: dsct data check {path.parent} --name coco{named}{several}")


def _images(written: Converted) -> str:
    counts = {"linked": written.linked, "copied": written.copied}
    return "".join(f", {count} image{'' if count == 1 else 's'} {how}" for how, count in counts.items() if count)
