"""Figure 9: the subject queries of models with different numbers of them."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import dsct
from dsct.visualize import draw_subject_positions, trace_subjects
from tests.visualize.traced_model import EVERYBODY, HEIGHT, IMAGE, NOBODY, WIDTH, small_model


def discs(ax: Axes) -> dict[str, tuple[float, float]]:
    return {text.get_text(): text.get_position() for text in ax.texts}


def boxes(ax: Axes) -> list[Rectangle]:
    """Without the frame of the panel."""
    patches = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    return [patch for patch in patches if patch.get_transform() != ax.transAxes and patch.get_width() != 1]


def reference_points(model: dsct.DSCT) -> np.ndarray:
    with torch.no_grad():
        _, trace = model.eval()(torch.zeros(1, 3, 64, 64), return_trace=True)
    return trace[0]["reference_points"][0].numpy()  # type: ignore[no-any-return]


def test_positions_are_the_reference_points_of_any_image() -> None:
    models = {n: small_model(num_subject_queries=n) for n in range(1, 11)}
    figure = draw_subject_positions(models)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"N = {n}" for n in range(1, 11)]
    for ax, model in zip(figure.axes, models.values(), strict=True):
        points = reference_points(model)
        np.testing.assert_allclose(list(discs(ax).values()), points[10:], rtol=1e-5)
        assert list(discs(ax)) == [str(query + 1) for query in range(model.config.num_subject_queries)], (
            "from 1, as people"
        )
        (context,) = ax.get_lines()
        np.testing.assert_allclose(context.get_xydata(), points[:10], rtol=1e-5)
        assert (ax.get_xlim(), ax.get_ylim()) == ((0, 1), (1, 0))


def test_on_an_image_people_have_the_colour_of_their_query() -> None:
    model = small_model()
    (ax,) = draw_subject_positions([model], IMAGE, **EVERYBODY).axes
    np.testing.assert_allclose(list(discs(ax).values()), reference_points(model)[10:] * [WIDTH, HEIGHT], rtol=1e-4)
    subjects = trace_subjects(IMAGE, model, **EVERYBODY)
    drawn = {tuple(np.round(box.get_bbox().extents, 2)) for box in boxes(ax)}
    assert drawn == {tuple(np.round(np.array(subject.person.box), 2)) for subject in subjects}
    for collection, subject in zip(ax.collections, subjects, strict=True):
        offsets = np.asarray(collection.get_offsets()).tolist()
        assert sorted(offsets) == sorted(subject.layers[-1].sampling_points.astype(float).tolist())
        disc = next(text for text in ax.texts if text.get_text() == str(subject.query + 1)).get_bbox_patch()
        assert disc is not None
        assert tuple(collection.get_facecolor()[-1][:3]) == disc.get_facecolor()[:3]


def test_queries_that_found_nobody_are_shown_too() -> None:
    (ax,) = draw_subject_positions([small_model()], IMAGE, **NOBODY).axes
    assert list(discs(ax)) == ["1", "2", "3"]
    assert not boxes(ax)
    assert not ax.collections


def test_names_paths_and_iterators(tmp_path: Path) -> None:
    dsct.save_model(small_model(), tmp_path / "model.safetensors")
    figure = draw_subject_positions({"early $": tmp_path / "model.safetensors", "late": small_model()})
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["early $: N = 3", "late: N = 3"]
    numbers = count(1)
    figure = draw_subject_positions(small_model(num_subject_queries=next(numbers)) for _ in range(2))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["N = 1", "N = 2"]


def test_a_model_without_context_queries() -> None:
    (ax,) = draw_subject_positions([small_model(num_context_queries=0, k_spatial=0, k_semantic=0)]).axes
    assert len(discs(ax)) == 3


def test_into_given_axes() -> None:
    figure = Figure()
    ax, other = figure.subplots(1, 2)
    assert draw_subject_positions([small_model()], ax=ax) is figure
    assert len(discs(ax)) == 3
    assert figure.axes == [ax, other]


def test_rejects() -> None:
    with pytest.raises(ValueError, match="at least one model"):
        draw_subject_positions({})
    with pytest.raises(ValueError, match=r"models\[4\] must have 4 subject queries, got 3"):
        draw_subject_positions({4: small_model()})
    with pytest.raises(ValueError, match="ax takes one model, got 2"):
        draw_subject_positions([small_model()] * 2, ax=Figure().subplots())


def test_one_model_is_not_several() -> None:
    with pytest.raises(TypeError, match=r"models must be several, .*, got 'a\.safetensors'"):
        draw_subject_positions("a.safetensors")
    with pytest.raises(TypeError, match="models must be several"):
        draw_subject_positions(small_model())  # type: ignore[arg-type]
