"""``dsct overfit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import dsct
import dsct.train.overfit as overfitting
from dsct.cli.datasets import Data, describe, describe_folder, describe_scenes, open_data
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.cli.options import (
    AnnotationsOption,
    DataOption,
    DatasetName,
    LabelsOption,
    MultiLabelOption,
    Split,
    ValFractionOption,
    split_option,
)
from dsct.cli.progress import progress_bar
from dsct.cli.train import PRESETS
from dsct.complete_files import require_writable
from dsct.config import DSCTConfig
from dsct.train.loading.inspection import say_who_is_beyond
from dsct.visualize import contact_sheet
from dsct.visualize.drawing.saving import require_format


@one_line_errors
def overfit(
    dataset: Annotated[DatasetName, typer.Argument(help="The data set.")],
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    labels: LabelsOption = None,
    multi_label: MultiLabelOption = False,
    val_fraction: ValFractionOption = None,
    split: Annotated[Split, split_option("Split of the data set.")] = Split.train,
    images: Annotated[int, typer.Option(help="Number of images.")] = 8,
    steps: Annotated[int, typer.Option(help="Maximum number of steps.")] = 600,
    short_side: Annotated[int, typer.Option(help="Short side of the images in pixels.")] = 192,
    seed: Annotated[int, typer.Option(help="Seed for the choice of images and the weights.")] = 0,
    page: Annotated[Path, typer.Option(help="The page to write: .png, .svg or .pdf.")] = Path("overfit.png"),
    device: DeviceOption = "auto",
) -> None:
    """Overfit a small model to a few of your images, as a sanity check of data, boxes and labels; takes minutes.

    A small model that cannot overfit 8 images will not learn the data set. Look at the page it writes: dashed boxes
    are your annotations.
    """
    require_format(page)
    require_writable(page)
    if dataset is DatasetName.synthetic:
        about = describe_scenes({split.value: 200}, "320x240", 0.3, multi_label)
    else:
        about = describe_folder(dataset, data, annotations, labels, multi_label, val_fraction)
    opened = open_data(about, split.value, None)
    typer.echo(describe(opened))
    _say_who_is_beyond(opened, dataset)
    with progress_bar(Console()) as progress:
        task = progress.add_task("learning", total=steps)
        result = overfitting.overfit(
            opened, images=images, steps=steps, short_side=short_side, seed=seed, device=choose_device(device),
            on_step=lambda done, loss: progress.update(task, completed=done, description=f"loss {loss:.2f}"),
        )  # fmt: skip
    drawn = [opened[index][0] for index in result.indices]
    found = [dsct.predict(image, result.model) for image in drawn]
    truth = [overfitting.first_people(opened.annotations(index)) for index in result.indices]
    contact_sheet(zip(drawn, found, truth, strict=True), page)
    typer.echo(f"loss {result.losses[0]:.1f} -> {result.losses[-1]:.2f} in {len(result.losses)} steps")
    typer.echo(result.verdict)
    people = sum(len(opened.annotations(index)) for index in result.indices)
    if (learnt := sum(map(len, truth))) < people:
        most = overfitting.MOST_PEOPLE
        typer.echo(f"note: {learnt:,} of {people:,} people were learnt, the first {most} of an image")
    typer.echo(f"page: {page}")
    if not (result.boxes_learnt and result.labels_learnt):
        raise typer.Exit(1)


def _say_who_is_beyond(data: Data, dataset: DatasetName) -> None:
    """For ``dsct train``: the model here has queries enough."""
    config: DSCTConfig = getattr(DSCTConfig, PRESETS[dataset].value)()
    say_who_is_beyond(data, config.num_subject_queries, lambda said: typer.echo(f"{said} in dsct train"))
