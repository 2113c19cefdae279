"""Figures 5, 6 and 13: the same images through several models."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import dsct
from dsct.prediction.people import People
from dsct.prediction.person_colors import WRONG_COLOR, person_color
from dsct.visualize import draw_models
from dsct.visualize.drawing.person_cards import MISSED, WRONG
from tests.visualize.traced_model import EVERYBODY, IMAGE, small_model

NAMES = ("Anger", "Happiness", "Peace")
A, B, C = [0.0, 0, 20, 20], [50.0, 50, 80, 80], [10.0, 60, 30, 90]
BLANK = np.zeros((100, 120, 3), np.uint8)


def people_at(*boxes: list[float], labels: list[list[str]]) -> People:
    """Reported classes have probabilities 0.9, 0.8, ... in the order given."""
    probabilities = np.full((len(boxes), 3), 0.1, np.float32)
    for row, names in zip(probabilities, labels, strict=True):
        row[[NAMES.index(name) for name in names]] = 0.9 - 0.1 * np.arange(len(names))
    return People(np.array(boxes, np.float32).reshape(-1, 4), probabilities.mean(1), labels, probabilities, NAMES,
                  (120, 100), BLANK)  # fmt: skip


def truth(boxes: Any, labels: Any) -> Any:
    return SimpleNamespace(boxes=boxes, labels=np.array(labels))


def cards(figure: Figure, column: int, row: int = 0, columns: int = 2) -> list[str]:
    """What stands below an image."""
    return [text.get_text() for text in figure.axes[2 * (row * columns + column) + 1].texts]


def boxes(figure: Figure, column: int) -> dict[tuple[float, ...], str]:
    patches = figure.axes[2 * column].patches
    drawn = [one for one in patches if isinstance(one, Rectangle) and not one.get_fill()]
    return {tuple(one.get_bbox().extents.tolist()): to_hex(one.get_edgecolor()).upper() for one in drawn}


def titles(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_fontweight() == "bold"]


def test_a_column_for_the_truth_and_for_each_model_in_which_errors_are_marked() -> None:
    found = people_at(B, A, labels=[["Peace", "Anger"], ["Happiness"]])
    other = people_at(A, labels=[["Anger"]])
    target = truth([A, B, C], [[0, 1, 0], [1, 1, 0], [0, 0, 1]])
    figure = draw_models([BLANK], {"ours": [found], "$theirs": [other]}, [target])
    assert titles(figure) == ["truth, as annotated", "ours", "$theirs"]
    assert cards(figure, 0) == ["1", "Happiness", "2", "Anger", "Happiness", "3", "Peace"]
    assert cards(figure, 1) == [
        "1", "Happiness", "2", f"{WRONG} Peace", "Anger", f"{MISSED} Happiness", "3", f"{WRONG} missed",
    ]  # fmt: skip
    assert cards(figure, 2)[:3] == ["1", f"{WRONG} Anger", f"{MISSED} Happiness"]
    red = [text.get_text() for text in figure.axes[3].texts if text.get_color() == WRONG_COLOR]
    assert red == [f"{WRONG} Peace", f"{MISSED} Happiness", f"{WRONG} missed"]


def test_a_person_has_one_number_and_colour_in_all_columns() -> None:
    found = people_at(B, C, A, labels=[["Anger"]] * 3)
    figure = draw_models([BLANK], {"a": [found]}, [truth([A, B], [0, 0])])
    assert boxes(figure, 1)[tuple(B)] == boxes(figure, 0)[tuple(B)] == person_color(1)
    assert boxes(figure, 1)[tuple(A)] == person_color(0)
    assert boxes(figure, 1)[tuple(C)] == person_color(2)
    assert [tag.get_text() for tag in figure.axes[2].texts] == ["2 Anger", f"3 {WRONG} Anger", "1 Anger"]
    assert f"{WRONG} no person here" in cards(figure, 1)


def test_without_the_truth_the_first_model_counts() -> None:
    one, other = people_at(A, B, labels=[["Anger"]] * 2), people_at(C, B, labels=[["Peace"], []])
    figure = draw_models([BLANK], {"one": [one], "other": [other]})
    assert titles(figure) == ["one", "other"]
    assert cards(figure, 1) == ["2", "no emotion", "3", "Peace"]
    assert not figure.legends


def test_rows_are_images_and_some_may_lack_a_truth() -> None:
    nobody = people_at(labels=[])
    figure = draw_models([BLANK, BLANK], {"one": [nobody, nobody]}, [truth([A], [2]), None])
    assert [cards(figure, column, row) for row in (0, 1) for column in (0, 1)] == [
        ["1", "Peace"], ["1", f"{WRONG} missed"], ["not annotated"], ["nobody found"],
    ]  # fmt: skip


def test_long_lists_are_counted() -> None:
    found = people_at(A, labels=[["Peace", "Anger"]])
    figure = draw_models([BLANK], {"one": [found]}, [truth([A], [[0, 1, 1]])], max_labels=1)
    assert cards(figure, 1) == ["1", "Peace", "2 more, 2 red"]


def test_models_and_results_stand_side_by_side(tmp_path: Path) -> None:
    model = small_model()
    dsct.save_model(model, tmp_path / "model.safetensors")
    Image.fromarray(IMAGE).save(tmp_path / "one.png")
    people = dsct.predict(IMAGE, model, **EVERYBODY)
    models = {"module": model, "file": tmp_path / "model.safetensors", "result": [people]}
    figure = draw_models([tmp_path / "one.png"], models, **EVERYBODY)
    assert len(people) == 3
    assert boxes(figure, 0) == boxes(figure, 1) == boxes(figure, 2)


def test_sampling_points_are_those_of_the_last_layer() -> None:
    model = small_model()
    subjects = dsct.Predictor(model, **EVERYBODY).look(IMAGE).subjects
    people = dsct.predict(IMAGE, model, **EVERYBODY)
    figure = draw_models([IMAGE], {"model": model, "result": [people]}, sampling=True, **EVERYBODY)
    for points, star, subject in zip(figure.axes[0].collections, figure.axes[0].lines, subjects, strict=True):
        at = subject.layers[-1]
        assert sorted(np.asarray(points.get_offsets()).tolist()) == sorted(at.sampling_points.astype(float).tolist())
        np.testing.assert_allclose(star.get_xydata(), [at.reference_point])
    assert not figure.axes[2].collections
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["reference point", "sampling points"]


@pytest.mark.parametrize("models", [1, 2, 5])
def test_text_stays_on_the_figure(models: int) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((4, 26), dtype=np.float32)
    names = dsct.DSCTConfig.paper_emotic().names
    labels = [[name for name, p in zip(names, row, strict=True) if p > 0.5] for row in probabilities]
    found = People(np.array([A, B, C, [90, 0, 110, 30]], np.float32), probabilities.mean(1), labels, probabilities,
                   names, (120, 100), BLANK, "A remark about the weights. " * 9)  # fmt: skip
    target = truth([A, B], rng.integers(0, 2, (2, 26)))
    figure = draw_models([BLANK], {f"model {n}": [found] for n in range(models)}, [target])
    figure.canvas.draw()
    for text in [*figure.texts, *(text for ax in figure.axes for text in ax.texts)]:
        extent = text.get_window_extent()
        assert (figure.bbox.min <= extent.min).all(), text
        assert (extent.max <= figure.bbox.max).all(), text


def test_rejects() -> None:
    found = people_at(A, labels=[["Anger"]])
    other = People(found.boxes, found.scores, [["x"]], np.ones((1, 1), np.float32), ("x",), (120, 100), BLANK)
    with pytest.raises(ValueError, match="expected images and models, got 0 and 1"):
        draw_models([], {"a": [found]})
    with pytest.raises(ValueError, match="expected images and models, got 1 and 0"):
        draw_models([BLANK], {})
    with pytest.raises(ValueError, match="targets must be one per image, 1, got 2"):
        draw_models([BLANK], {"a": [found]}, [None, None])
    with pytest.raises(ValueError, match=r"models\['a'\] must be a model or one People per image, 2, got 1 of People"):
        draw_models([BLANK] * 2, {"a": [found]})
    with pytest.raises(ValueError, match=r"all models must have the classes \['Anger', .*'b' has \['x'\]"):
        draw_models([BLANK], {"a": [found], "b": [other]})
    with pytest.raises(ValueError, match="max_labels must be at least 1, got 0"):
        draw_models([BLANK], {"a": [found]}, max_labels=0)
    with pytest.raises(TypeError, match="images must be several images, in a list, got str"):
        draw_models("photo.jpg", {"a": [found]})
    with pytest.raises(TypeError, match="images must be several images, in a list, got ndarray"):
        draw_models(BLANK, {"a": [found]})
    with pytest.raises(TypeError, match="models must be a mapping from names to models, got list"):
        draw_models([BLANK], [None])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"draw_models: image must have the size of that .* 120 x 100, got 100 x 100"):
        draw_models([BLANK[:, :100]], {"a": [found]})
    with pytest.raises(TypeError, match="model must be a dsct"):
        draw_models([BLANK], {"a": 5})  # type: ignore[dict-item]
