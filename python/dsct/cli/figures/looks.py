"""``dsct figure``: what a model looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from dsct.cli.figures.images import Images
from dsct.cli.figures.option_groups import (
    NamedWeightsOption,
    Out,
    Predicting,
    WeightsOption,
    figure_command,
    named_paths,
)

PersonOption = Annotated[
    list[int] | None, typer.Option(min=1, help="Only this person, from 1, as figures count; repeatable.")
]


@figure_command
def activations(
    images: Images,
    predicting: Predicting,
    to: Out,
    weights: WeightsOption = None,
    level: Annotated[int | None, typer.Option(min=1, help="Only this map, from 1, the finest.")] = None,
) -> None:
    """Draw what the backbone responds to, over the image (paper, Fig. 7)."""
    from dsct.visualize import draw_activations

    model, config = predicting.model(weights)
    chosen = None if level is None else level - 1
    to.save(draw_activations(model, images.one(config).image, level=chosen, **predicting.options()), "activations")


@figure_command
def sampling(
    images: Images,
    predicting: Predicting,
    to: Out,
    weights: WeightsOption = None,
    layer: Annotated[int | None, typer.Option(min=1, help="Decoder layer, from 1; by default the last.")] = None,
    person: PersonOption = None,
    contextual: Annotated[bool, typer.Option("--context/--no-context", help="Also draw the context's points.")] = True,
    most_points: Annotated[int, typer.Option(min=1, help="Draw this many of the points of greatest weight.")] = 300,
) -> None:
    """Draw where a decoder layer sampled the image for each person, alone and with context (paper, Fig. 8)."""
    from dsct.visualize import draw_sampling

    model, config = predicting.model(weights)
    drawn = draw_sampling(
        model,
        images.one(config).image,
        layer=-1 if layer is None else layer - 1,
        people=_from_zero(person),
        contextual=contextual,
        most_points=most_points,
        **predicting.options(),
    )
    to.save(drawn, "sampling")


@figure_command
def context(
    images: Images,
    predicting: Predicting,
    to: Out,
    weights: WeightsOption = None,
    layer: Annotated[list[int] | None, typer.Option(min=1, help="Only this layer, from 1; repeatable.")] = None,
    person: PersonOption = None,
) -> None:
    """Draw the context that each decoder layer chose for each person, with its weights (paper, Fig. 10)."""
    from dsct.visualize import draw_context

    model, config = predicting.model(weights)
    people, layers = _from_zero(person), _from_zero(layer)
    to.save(
        draw_context(model, images.one(config).image, people=people, layers=layers, **predicting.options()), "context"
    )


@figure_command
def positions(images: Images, predicting: Predicting, to: Out, weights: NamedWeightsOption = None) -> None:
    """Draw the reference points of the subject queries of one or more models, also on an image (paper, Fig. 9)."""
    from dsct.visualize import draw_subject_positions

    given = named_paths(weights, "--weights") if weights else {"weights that come with dsct": None}
    models = {name: predicting.model(path) for name, path in given.items()}
    wanted = images.images or images.dataset is not None
    image = images.one(next(iter(models.values()))[1]).image if wanted else None
    drawn = draw_subject_positions({name: model for name, (model, _) in models.items()}, image, **predicting.options())
    to.save(drawn, "positions")


def _from_zero(numbers: list[int] | None) -> list[int] | None:
    """Figures count from 1, Python from 0."""
    return [number - 1 for number in numbers] if numbers else None
