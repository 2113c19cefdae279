"""The same images through several models, side by side, with the truth (paper, Fig. 5, 6 and 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from typing_extensions import Unpack

from dsct.data.image_io import ImageInput, load_image
from dsct.prediction.look import SubjectTrace, heaviest
from dsct.prediction.options import Options, lists_options
from dsct.prediction.people import People, Person, Truth
from dsct.prediction.person_colors import WRONG_COLOR, person_color
from dsct.prediction.predictor import Predictor
from dsct.prediction.shipped_weights import AnyModel
from dsct.visualize.drawing.figure import WIDTH
from dsct.visualize.drawing.image_of import image_of
from dsct.visualize.drawing.markers import draw_reference_point, draw_weighted_points, point_in_legend, star_in_legend
from dsct.visualize.drawing.page import people_page
from dsct.visualize.drawing.panel import Panel
from dsct.visualize.drawing.person_cards import (
    MISSED,
    MOST_DRAWN,
    WRONG,
    Card,
    Comparison,
    Line,
    card_of_others,
    class_names_of,
    compare,
    pair_boxes,
    shorten,
)

TRUTH = "truth, as annotated"
_CARD_WIDTH = 1.6  # inches
_MIN_COLUMN = 2.4  # inches
_MOST_POINTS = 100  # per person
_CAPTION = "Emotions that a model reports, the most probable first. A person has one number and colour in all columns."
_MARKS = f" Red: {WRONG} wrong, {MISSED} true but not reported."

Found = tuple[People, list[SubjectTrace]]


@lists_options
def draw_models(
    images: Sequence[ImageInput],
    models: Mapping[str, AnyModel | Sequence[People]],
    targets: Sequence[Truth | None] | None = None,
    *,
    max_labels: int = 6,
    sampling: bool = False,
    **options: Unpack[Options],
) -> Figure:
    """Draws what several models find in the same images: a row per image, a column per model, the truth on the left.

    A person has the same number and colour in every column: of the true box, or the box of the first model, that
    theirs overlaps most (IoU at least 0.5). Errors are red and marked, as `draw_people` does.

    Args:
        images: anything `load_image` reads, one per row.
        models: name -> a model, the path of a native safetensors file, or None for the small weights that come with
            dsct; or the people that another program found, one `People` per image.
        targets: the truth of each image, or None where there is none.
        max_labels: emotions per person, at least 1; further ones are counted.
        sampling: also draw the reference point of each person's query and the sampling points of the last decoder
            layer, for the columns that are models.
        **options: as in `dsct.predict`, such as `threshold` or `device`.

    Returns:
        A new figure. `figure.savefig("models.png")` writes it.

    Raises:
        ValueError: there is no image or no model, the number of targets or people is not that of the images, the
            models have different classes, `max_labels` is below 1, or labels do not fit the classes.
        TypeError: `images` or `models` is only one, a model has an unsupported type, or its decoder cannot say where it
            looked.

    Example:
        >>> import dsct, numpy as np
        >>> blank = np.zeros((96, 128, 3), dtype=np.uint8)
        >>> late, early = (dsct.DSCT(dsct.DSCTConfig.tiny(fusion_layers=layers)) for layers in ((1,), (0, 1)))
        >>> figure = draw_models([blank], {"late fusion": late, "early fusion": early}, short_side=96)
        >>> [text.get_text() for text in figure.texts][:2]
        ['late fusion', 'early fusion']
    """
    _require_several(images, models)
    images = list(images)
    truths: list[Truth | None] = [None] * len(images) if targets is None else list(targets)
    _require_fitting(images, models, truths, max_labels)
    finders = {name: _finder(name, model, sampling, len(images), options) for name, model in models.items()}
    with_truth = any(truth is not None for truth in truths)
    columns = len(models) + with_truth
    width = max(WIDTH / columns, _MIN_COLUMN)
    panels: list[Panel] = []
    for row, (image, truth) in enumerate(zip(images, truths, strict=True)):
        loaded = load_image(image)
        found = [find(row, loaded) for find in finders.values()]
        for people, _ in found:
            image_of(people, loaded, "draw_models")
        _require_equal_classes(found, list(models))
        panels += _row(loaded, found, truth, with_truth, width, max_labels)
    points = [star_in_legend("reference point"), point_in_legend("sampling points", "0.6")] if sampling else []
    titles = [TRUTH, *models] if with_truth else list(models)
    return people_page(panels, columns, _CAPTION + (_MARKS if with_truth else ""), titles, points)


def _require_several(images: Any, models: Any) -> None:
    if isinstance(images, str) or not isinstance(images, Iterable) or hasattr(images, "shape"):
        raise TypeError(f"draw_models: images must be several images, in a list, got {type(images).__name__}")
    if not isinstance(models, Mapping):
        raise TypeError(f"draw_models: models must be a mapping from names to models, got {type(models).__name__}")


def _require_fitting(
    images: list[ImageInput], models: Mapping[str, Any], truths: list[Truth | None], max_labels: int
) -> None:
    if not images or not models:
        raise ValueError(f"draw_models: expected images and models, got {len(images)} and {len(models)}")
    if len(truths) != len(images):
        raise ValueError(f"draw_models: targets must be one per image, {len(images)}, got {len(truths)}")
    if max_labels < 1:
        raise ValueError(f"draw_models: max_labels must be at least 1, got {max_labels}")


def _finder(
    name: str, model: AnyModel | Sequence[People], sampling: bool, count: int, options: Options
) -> Callable[[int, Image.Image], Found]:
    """What finds the people in the image of a row."""
    if isinstance(model, (list, tuple)):
        people = list(model)
        if len(people) != count or not all(isinstance(one, People) for one in people):
            got = f"{len(people)} of {', '.join(sorted({type(one).__name__ for one in people})) or 'nothing'}"
            raise ValueError(
                f"draw_models: models[{name!r}] must be a model or one People per image, {count}, got {got}"
            )
        return lambda row, image: (people[row], [])
    predictor = Predictor(model, **options)  # type: ignore[arg-type]
    if not sampling:
        return lambda row, image: (predictor(image), [])

    def look(row: int, image: Image.Image) -> Found:
        seen = predictor.look(image)
        return seen.people, seen.subjects

    return look


def _require_equal_classes(found: list[Found], names: list[str]) -> None:
    first = found[0][0].class_names
    for (people, _), name in zip(found, names, strict=True):
        if people.class_names != first:
            raise ValueError(f"draw_models: all models must have the classes {list(first)}, {name!r} has "
                             f"{list(people.class_names)}")  # fmt: skip


def _row(
    image: Image.Image, found: list[Found], truth: Truth | None, with_truth: bool, width: float, max_labels: int
) -> Iterator[Panel]:
    """The panels of one image."""
    first = found[0][0]
    comparisons = [compare(people, truth) for people, _ in found]
    true_people = _true_people(image, truth, first)
    if with_truth:
        cards = [_card(n, n, person, None, max_labels) for n, person in enumerate(true_people[:MOST_DRAWN])]
        cards += card_of_others(len(true_people))
        yield Panel(image, true_people, None, cards or [_remark("no person annotated" if truth else "not annotated")],
                    width, True, card_width=_CARD_WIDTH)  # fmt: skip
    known = first.boxes if truth is None else true_people.boxes
    for (people, subjects), comparison in zip(found, comparisons, strict=True):
        numbers = _numbers(people, known)
        missed = comparison.missed() if comparison is not None else []
        by_number = {
            n: _card(n, index, people[index], comparison, max_labels) for index, n in enumerate(numbers[:MOST_DRAWN])
        }
        for n in missed[:MOST_DRAWN]:
            by_number[n] = Card(str(n + 1), WRONG_COLOR, [_error(f"{WRONG} missed")])
        cards = [*(by_number[n] for n in sorted(by_number)), *card_of_others(len(people), len(missed))]
        yield Panel(image, people, comparison, cards or [_remark("nobody found")], width, True, card_width=_CARD_WIDTH,
                    numbers=numbers, points=_points(subjects, numbers))  # fmt: skip


def _true_people(image: Image.Image, truth: Truth | None, like: People) -> People:
    """The truth as if a model with the classes of `like` had found it."""
    boxes = np.zeros((0, 4), np.float32) if truth is None else np.asarray(truth.boxes, np.float32).reshape(-1, 4)
    names = [] if truth is None else class_names_of(np.asarray(truth.labels), like.class_names)
    probabilities = np.array([[name in of for name in like.class_names] for of in names], np.float32)
    shape = len(names), len(like.class_names)
    return People(boxes, np.ones(len(names), np.float32), names, probabilities.reshape(shape), like.class_names,
                  image.size, image)  # fmt: skip


def _numbers(people: People, known: np.ndarray) -> list[int]:
    """Of each person that of the known box which theirs overlaps, or one that nobody else has."""
    free = iter(range(len(known), len(known) + len(people)))
    return [next(free) if row is None else row for row in pair_boxes(people.boxes, known)]


def _card(number: int, index: int, person: Person, comparison: Comparison | None, max_labels: int) -> Card:
    reported = sorted(person.labels, key=lambda label: -person.probabilities[label])
    wrong = [label for label in reported if comparison and comparison.is_wrong(index, label)]
    lines = [_error(f"{WRONG} {shorten(label)}") if label in wrong else Line(shorten(label)) for label in reported]
    lines += [
        _error(f"{MISSED} {shorten(name)}") for name in (comparison.not_reported(index, reported) if comparison else ())
    ]
    if len(lines) > max_labels:
        hidden = lines[max_labels:]
        errors = sum(line.color == WRONG_COLOR for line in hidden)
        text = f"{len(hidden)} more" + (f", {errors} red" if errors else "")
        lines = [*lines[:max_labels], _error(text) if errors else Line(text)]
    if comparison and comparison.truth_of[index] is None:
        lines.append(_error(f"{WRONG} no person here"))
    return Card(str(number + 1), person_color(number), lines or [Line("no emotion", "0.35")])


def _error(text: str) -> Line:
    return Line(text, WRONG_COLOR)


def _remark(text: str) -> Card:
    return Card("", "white", [Line(text, "0.35")])


def _points(subjects: list[SubjectTrace], numbers: list[int]) -> Callable[[Axes], None] | None:
    if not subjects:
        return None

    def draw(ax: Axes) -> None:
        for subject, number in zip(subjects, numbers, strict=True):
            at, color = subject.layers[-1], person_color(number)
            draw_weighted_points(ax, *heaviest(at.sampling_points, at.sampling_weights, _MOST_POINTS), color, scale=0.4)
            draw_reference_point(ax, at.reference_point, color)

    return draw
