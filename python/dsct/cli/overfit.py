"""``dsct overfit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import dsct
from dsct.cli.datasets import (
    AnnotationsOption,
    DataOption,
    DatasetName,
    LabelsOption,
    MultiLabelOption,
    Split,
    describe_folder,
    describe_scenes,
    open_data,
    told,
)
from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import told_in_one_sentence
from dsct.train.overfit import overfit as learn_by_heart
from dsct.visualize import contact_sheet


@told_in_one_sentence
def overfit(
    dataset: Annotated[DatasetName, typer.Argument(help="What to learn.")],
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    labels: LabelsOption = None,
    multi_label: MultiLabelOption = False,
    split: Annotated[Split, typer.Option(help="Part of the data set.")] = Split.train,
    images: Annotated[int, typer.Option(help="Pictures to learn.")] = 8,
    steps: Annotated[int, typer.Option(help="Steps at most.")] = 600,
    short_side: Annotated[int, typer.Option(help="Short side of the pictures in pixels.")] = 192,
    seed: Annotated[int, typer.Option(help="Of the choice of pictures and of the weights.")] = 0,
    page: Annotated[Path, typer.Option(help="The picture to write.")] = Path("overfit.png"),
    device: DeviceOption = "auto",
) -> None:
    """Learn a few of your pictures by heart, in minutes: do data, boxes and labels make sense?

    A small model that cannot learn 8 pictures will not learn the data set. Look at the page that is written: dashed
    boxes are your annotations.
    """
    if dataset is DatasetName.synthetic:
        about = describe_scenes({split.value: 200}, "320x240", 0.3, multi_label)
    else:
        about = describe_folder(dataset, data, annotations, labels, multi_label)
    opened = open_data(about, split.value, None)
    typer.echo(told(opened))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(), transient=True) as progress:
        task = progress.add_task("learning", total=steps)
        result = learn_by_heart(
            opened, images=images, steps=steps, short_side=short_side, seed=seed, device=choose_device(device),
            on_step=lambda done, loss: progress.update(task, completed=done, description=f"loss {loss:.2f}"),
        )  # fmt: skip
    pictures = [opened[index][0] for index in result.indices]
    plain = [p.as_subclass(torch.Tensor) if isinstance(p, torch.Tensor) else p for p in pictures]
    found = [dsct.predict(picture, result.model) for picture in plain]
    truth = [opened.annotations(index) for index in result.indices]
    contact_sheet(zip(plain, found, truth, strict=True), page)
    typer.echo(f"loss {result.losses[0]:.1f} -> {result.losses[-1]:.2f} in {len(result.losses)} steps")
    typer.echo(f"{result.verdict}\npage: {page}")
    if not (result.boxes_learnt and result.labels_learnt):
        raise typer.Exit(1)
