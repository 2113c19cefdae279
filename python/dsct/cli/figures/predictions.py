"""``dsct figure``: people, beside the truth and beside other models; pages of images."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dsct.cli.datasets import describe_folder, open_data
from dsct.cli.figures.images import Chosen, Images, read_results
from dsct.cli.figures.option_groups import (
    NamedWeightsOption,
    Out,
    Predicting,
    WeightsOption,
    figure_command,
    named_paths,
)
from dsct.cli.options import (
    AnnotationsOption,
    DataOption,
    DatasetName,
    LabelsOption,
    MultiLabelOption,
    Split,
    split_option,
)

MaxLabelsOption = Annotated[int, typer.Option(min=1, help="Emotions per person; further ones are counted.")]
ColumnsOption = Annotated[int, typer.Option(min=1, help="Images per row.")]


@figure_command
def people(
    images: Images, predicting: Predicting, to: Out, weights: WeightsOption = None, max_labels: MaxLabelsOption = 4
) -> None:
    """Draw the people in an image with their emotions; with --dataset, beside the truth (paper, Fig. 5)."""
    from dsct.prediction.predictor import Predictor
    from dsct.visualize import draw_people

    predictor = Predictor(weights, **predicting.options())
    one = images.one(predictor.model.config)
    to.save(draw_people(one.image, predictor(one.image), one.truth, max_labels=max_labels), "people")


@figure_command
def models(
    images: Images,
    predicting: Predicting,
    to: Out,
    weights: NamedWeightsOption = None,
    results: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE", help="What another program found, in the JSON of `dsct predict --out`; repeatable."
        ),
    ] = None,
    max_labels: MaxLabelsOption = 6,
    sampling: Annotated[bool, typer.Option("--sampling", help="Also draw reference and sampling points.")] = False,
    count: Annotated[int, typer.Option(min=1, help="Images of --dataset.")] = 3,
) -> None:
    """Draw the same images through several models, side by side; with --dataset, beside the truth (Figs. 5, 6, 13)."""
    from dsct.prediction.predictor import Predictor
    from dsct.visualize import draw_models

    options = predicting.options()
    predictors = {name: Predictor(path, **options) for name, path in named_paths(weights or [], "--weights").items()}
    if not predictors:
        raise ValueError("--weights must name at least one model")
    config = next(iter(predictors.values())).model.config
    chosen = images.chosen(config, count)
    shown: dict[str, Any] = {name: predictor.model for name, predictor in predictors.items()}
    for name, path in named_paths(results or [], "--results").items():
        if name in shown:
            raise ValueError(f"--results must have names that --weights have not, got {name!r}")
        shown[name] = read_results(path, chosen, config.names)
    drawn = draw_models([one.image for one in chosen], shown, [one.truth for one in chosen], max_labels=max_labels,
                        sampling=sampling, **options)  # fmt: skip
    to.save(drawn, "models")


@figure_command
def sheet(
    images: Images,
    predicting: Predicting,
    to: Out,
    weights: WeightsOption = None,
    max_labels: MaxLabelsOption = 2,
    columns: ColumnsOption = 3,
    count: Annotated[int, typer.Option(min=1, help="Images of --dataset.")] = 12,
) -> None:
    """Draw a page of many images with their people; with --dataset, beside the truth."""
    from dsct.prediction.predictor import Predictor
    from dsct.visualize import contact_sheet

    predictor = Predictor(weights, **predicting.options())

    def found(one: Chosen) -> Any:
        return one.image, predictor(one.image), one.truth

    chosen = images.chosen(predictor.model.config, count)
    contact_sheet(map(found, chosen), to.path("sheet"), columns=columns, max_labels=max_labels, dpi=to.dpi)
    to.say("sheet")


@figure_command
def annotated(
    to: Out,
    dataset: Annotated[DatasetName, typer.Argument(help="The data set: emotic, caer-s or coco.")],
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    labels: LabelsOption = None,
    multi_label: MultiLabelOption = False,
    split: Annotated[Split, split_option("Split of the data set.")] = Split.train,
    count: Annotated[int, typer.Option(min=1, help="Images on the page.")] = 12,
    columns: ColumnsOption = 3,
    seed: Annotated[int, typer.Option(help="Seed for the choice of images.")] = 0,
) -> None:
    """Draw a page of images of a data set as they are annotated; `dsct data check --sheet` adds what is wrong."""
    from dsct.visualize.annotated_sheet import contact_sheet

    if dataset is DatasetName.synthetic:
        raise ValueError("synthetic scenes are annotated by the program that draws them; see `dsct figure sheet`")
    about = describe_folder(dataset, data, annotations, labels, multi_label)
    opened: Any = open_data(about, split.value, None)
    contact_sheet([opened], (), to.path("annotated"), count=count, seed=seed, columns=columns, dpi=to.dpi)
    to.say("annotated")
