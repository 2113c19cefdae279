"""Figure 10: the context that each layer selects for a person."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsct.visualize import draw_context, trace_subjects
from dsct.visualize.context import STYLES
from tests.visualize.traced_model import EVERYBODY, IMAGE, NOBODY, small_model


def marks(ax: Axes) -> list[list[list[float]]]:
    return [sorted(np.asarray(collection.get_offsets()).tolist()) for collection in ax.collections]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_one_panel_per_person_and_layer_with_the_chosen_queries() -> None:
    model = small_model()
    subjects = trace_subjects(IMAGE, model, **EVERYBODY)
    figure = draw_context(model, IMAGE, **EVERYBODY)
    panels = [(n, layer) for n in range(3) for layer in range(2)]
    for ax, (n, layer) in zip(figure.axes, panels, strict=True):
        at = subjects[n].layers[layer]
        of = [sorted(at.context_points[a:b].astype(float).tolist()) for a, b in ((0, 4), (4, 7))]
        assert marks(ax) == of
        title = f"person {n + 1}, layer {layer + 1}: max weight {at.context_weights.max():.2f}"
        assert ax.get_title(loc="left") == title
        (star,) = ax.get_lines()
        np.testing.assert_allclose(star.get_xydata(), [at.reference_point])
    assert legend(figure)[1:] == [STYLES["spatial"][3], STYLES["semantic"][3]]


def test_the_two_relations_differ_in_shape_and_share_one_scale() -> None:
    model = small_model()
    at = trace_subjects(IMAGE, model, **EVERYBODY)[0].layers[0]
    spatial, semantic = draw_context(model, IMAGE, people=[0], layers=[0], **EVERYBODY).axes[0].collections
    assert len(spatial.get_paths()[0].vertices) != len(semantic.get_paths()[0].vertices)
    sizes = np.concatenate([spatial.get_sizes(), semantic.get_sizes()])
    weights = np.concatenate([np.sort(at.context_weights[:4]), np.sort(at.context_weights[4:])])
    assert (np.diff(sizes[np.argsort(weights)]) >= -1e-6).all()
    assert sizes.max() > sizes.min()


@pytest.mark.parametrize(
    ("fields", "relations", "counts"),
    [
        ({"k_spatial": 0}, ["semantic"], [3]),
        ({"selection": ("spatial",)}, ["spatial"], [4]),
        ({"selection": ()}, ["all"], [10]),
        ({"selection": (), "aggregation": "split"}, ["all"], [10]),
    ],
)
def test_only_what_the_model_selects_is_drawn(
    fields: dict[str, object], relations: list[str], counts: list[int]
) -> None:
    figure = draw_context(small_model(**fields), IMAGE, people=[0], **EVERYBODY)
    assert [len(of) for of in marks(figure.axes[0])] == counts
    assert legend(figure)[1:] == [STYLES[relation][3] for relation in relations]


def test_layers_that_do_not_fuse_say_so() -> None:
    figure = draw_context(small_model(dec_layers=3, fusion_layers=(1,)), IMAGE, people=[0], **EVERYBODY)
    assert [title.split(": ")[1][:5] for title in titles(figure)] == ["no co", "max w", "no co"]
    assert not figure.axes[0].collections


def test_people_and_layers_can_be_chosen() -> None:
    figure = draw_context(small_model(), IMAGE, people=[2, 0], layers=[-1], **EVERYBODY)
    assert [title.split(":")[0] for title in titles(figure)] == ["person 3, layer 2", "person 1, layer 2"]


def test_nobody() -> None:
    (ax,) = draw_context(small_model(), IMAGE, **NOBODY).axes
    assert [text.get_text() for text in ax.texts] == ["nobody found"]


def test_into_given_axes() -> None:
    figure = Figure()
    ax, other = figure.subplots(1, 2)
    assert draw_context(small_model(), IMAGE, ax=ax, people=[1, 2], **EVERYBODY) is figure
    assert ax.get_title(loc="left").startswith("person 2, layer 2")
    assert figure.axes == [ax, other]
    assert draw_context(small_model(), IMAGE, ax=other, **NOBODY) is figure
    assert other.texts[0].get_text() == "nobody found"


def test_rejects() -> None:
    with pytest.raises(ValueError, match=r"layers must be in -2\.\.1, got -3"):
        draw_context(small_model(), IMAGE, layers=[-3], **EVERYBODY)
    with pytest.raises(ValueError, match="layers must be None, for all, or name at least one, got none"):
        draw_context(small_model(), IMAGE, layers=[], **EVERYBODY)
    with pytest.raises(ValueError, match="people must be None, for all, or name at least one, got none"):
        draw_context(small_model(), IMAGE, people=[], **EVERYBODY)
    with pytest.raises(TypeError, match="people must be whole numbers, got '1'"):
        draw_context(small_model(), IMAGE, people=["1"], **EVERYBODY)  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"got 3 \(person 4 in figures\)"):
        draw_context(small_model(), IMAGE, people=[3], **EVERYBODY)
    with pytest.raises(ValueError, match="people must be numbers from 0 below 3, got -1"):
        draw_context(small_model(), IMAGE, people=[-1], **EVERYBODY)
