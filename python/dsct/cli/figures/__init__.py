"""``dsct figure``: every figure of `dsct.visualize`, by name."""

from __future__ import annotations

import typer

from dsct.cli.on_demand import Place, group_of

#: In the order of ``dsct figure --help``.
COMMANDS = {
    "people": Place("dsct.cli.figures.predictions", "people", "Boxes and emotions in an image, beside the truth."),
    "models": Place("dsct.cli.figures.predictions", "models", "The same images through several models, side by side."),
    "sheet": Place("dsct.cli.figures.predictions", "sheet", "A page of many images with their people."),
    "annotated": Place("dsct.cli.figures.predictions", "annotated", "A page of a data set's images as annotated."),
    "activations": Place("dsct.cli.figures.looks", "activations", "What the backbone responds to."),
    "sampling": Place("dsct.cli.figures.looks", "sampling", "Where a layer sampled the image for each person."),
    "positions": Place("dsct.cli.figures.looks", "positions", "Where the subject queries of one or more models are."),
    "context": Place("dsct.cli.figures.looks", "context", "The context that each layer chose for each person."),
    "sweep": Place("dsct.cli.figures.numbers", "sweep", "A metric over the sizes of the context sets."),
    "curves": Place("dsct.cli.figures.numbers", "curves", "Losses, score and chance over the epochs of runs."),
    "classes": Place("dsct.cli.figures.numbers", "classes", "An evaluation by class."),
    "people-per-image": Place("dsct.cli.figures.numbers", "people_per_image", "An evaluation by people per image."),
    "confusion": Place("dsct.cli.figures.numbers", "confusion", "The confusion matrix of an evaluation."),
    "precision-recall": Place(
        "dsct.cli.figures.numbers", "precision_recall", "An evaluation's precision-recall curves."
    ),
    "calibration": Place("dsct.cli.figures.numbers", "calibration", "How often reported probabilities are right."),
    "groups": Place("dsct.cli.figures.numbers", "groups", "An evaluation by groups of people, such as of one age."),
}

app = typer.Typer(cls=group_of(COMMANDS), no_args_is_help=True, add_completion=False)


@app.callback()
def figure() -> None:
    """Draw figures to look at and for papers: PNG, SVG or PDF, by the ending of --out."""


__all__ = ["app"]
