"""Figure 8: reference points and sampling points of people, and of their context."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsct.visualize import draw_sampling, person_color, trace_subjects
from tests.visualize.traced_model import EVERYBODY, IMAGE, NOBODY, small_model


def stars(ax: Axes) -> list[Any]:
    return [line.get_xydata()[0].tolist() for line in ax.get_lines() if line.get_marker() == "*"]


def points(ax: Axes) -> list[Any]:
    return [np.asarray(collection.get_offsets()) for collection in ax.collections]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_points_are_those_of_the_trace() -> None:
    model = small_model()
    subjects = trace_subjects(IMAGE, model, **EVERYBODY)
    figure = draw_sampling(model, IMAGE, most_points=10_000, **EVERYBODY)
    own, *with_context = figure.axes
    assert titles(figure) == ["own sampling points", *(f"person {n} with context" for n in (1, 2, 3))]
    np.testing.assert_allclose(stars(own), [subject.layers[-1].reference_point for subject in subjects])
    for drawn, subject in zip(points(own), subjects, strict=True):
        np.testing.assert_allclose(sorted(drawn.tolist()), sorted(subject.layers[-1].sampling_points.tolist()))
    for ax, subject in zip(with_context, subjects, strict=True):
        at = subject.layers[-1]
        context, mine = points(ax)
        assert sorted(context.tolist()) == sorted(at.context_sampling_points.astype(float).tolist())
        assert sorted(mine.tolist()) == sorted(at.sampling_points.astype(float).tolist())
        np.testing.assert_allclose(stars(ax), [at.reference_point])
    assert len(legend(figure)) == 3


def test_size_and_opacity_grow_with_the_weight() -> None:
    model = small_model()
    (first, *_) = trace_subjects(IMAGE, model, **EVERYBODY)
    (drawn, *_) = draw_sampling(model, IMAGE, layer=0, people=[0], **EVERYBODY).axes[0].collections
    weights = np.sort(first.layers[0].sampling_weights)
    order = np.argsort(first.layers[0].sampling_weights, kind="stable")
    np.testing.assert_allclose(drawn.get_offsets(), first.layers[0].sampling_points[order])
    sizes, opacity = drawn.get_sizes(), drawn.get_facecolor()[:, 3]
    assert weights[-1] > 2 * weights[0]
    assert (np.diff(sizes) >= 0).all()
    assert (np.diff(opacity) >= 0).all()
    assert sizes[-1] / sizes[0] > 2
    assert opacity[-1] == 1


def test_each_person_has_its_colour_and_number() -> None:
    own = draw_sampling(small_model(), IMAGE, **EVERYBODY).axes[0]
    faces = [collection.get_facecolor()[-1][:3] for collection in own.collections]
    assert all(matplotlib.colors.same_color(face, person_color(n)) for n, face in enumerate(faces))
    assert [text.get_text() for text in own.texts] == ["1", "2", "3"]


def test_of_the_context_the_heaviest_points_are_drawn_and_the_caption_says_so() -> None:
    model = small_model()
    figure = draw_sampling(model, IMAGE, most_points=5, people=[1], **EVERYBODY)
    context, mine = points(figure.axes[1])
    assert len(context) == len(mine) == 5
    at = trace_subjects(IMAGE, model, **EVERYBODY)[1].layers[-1]
    heaviest = at.context_sampling_points[at.context_sampling_weights.argmax()]
    assert heaviest.tolist() in context.tolist()
    caption = " ".join(figure.texts[0].get_text().split())
    count = len(at.context_sampling_weights)
    assert f"Of the {count} sampling points of a person's context, the 5 of greatest weight" in caption


@pytest.mark.parametrize(
    "fields", [{"fusion_layers": (0,)}, {"num_context_queries": 0, "k_spatial": 0, "k_semantic": 0}]
)
def test_a_layer_without_fusion_has_no_panels_of_context(fields: dict[str, Any]) -> None:
    figure = draw_sampling(small_model(**fields), IMAGE, **EVERYBODY)
    assert titles(figure) == ["own sampling points"]
    assert "This layer takes in no context." in figure.texts[0].get_text()
    assert len(legend(figure)) == 2


def test_context_can_be_left_out() -> None:
    assert len(draw_sampling(small_model(), IMAGE, contextual=False, **EVERYBODY).axes) == 1


def test_nobody() -> None:
    (ax,) = draw_sampling(small_model(), IMAGE, **NOBODY).axes
    assert [text.get_text() for text in ax.texts] == ["nobody found"]
    assert not ax.collections


def test_into_given_axes() -> None:
    figure = Figure()
    ax, other = figure.subplots(1, 2)
    assert draw_sampling(small_model(), IMAGE, ax=ax, people=[2], **EVERYBODY) is figure
    assert len(points(ax)) == 2
    assert [text.get_text() for text in ax.texts] == ["3"]
    assert figure.axes == [ax, other]
    assert not other.collections


def test_the_note_on_the_shipped_weights_is_in_the_caption() -> None:
    assert "trained on synthetic scenes" in " ".join(draw_sampling(None, IMAGE).texts[0].get_text().split())


def test_rejects() -> None:
    with pytest.raises(ValueError, match=r"draw_sampling: layer must be in -2\.\.1, got 2"):
        draw_sampling(small_model(), IMAGE, layer=2, **EVERYBODY)
    with pytest.raises(ValueError, match="draw_sampling: people must be numbers from 0 below 3, got 3"):
        draw_sampling(small_model(), IMAGE, people=[3], **EVERYBODY)
    with pytest.raises(ValueError, match="most_points must be at least 1, got 0"):
        draw_sampling(small_model(), IMAGE, most_points=0)
