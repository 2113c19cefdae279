"""Figures: what is drawn where, nothing cut off, nothing left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import BboxBase
from PIL import Image

from dsct.config import CAER_S_CLASSES, EMOTIC_CLASSES
from dsct.prediction.people import People
from dsct.prediction.person_colors import WRONG_COLOR, person_color
from dsct.visualize import contact_sheet, draw_people
from dsct.visualize.drawing.person_cards import MISSED, RIGHT, WRONG
from dsct.visualize.drawing.saving import save_figure


def scene(width: int, height: int, boxes: Any, multi_label: bool = False, note: str | None = None) -> People:
    """People with random probabilities on a grey image."""
    names = EMOTIC_CLASSES if multi_label else CAER_S_CLASSES
    stacked = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    probabilities = np.random.default_rng(0).random((len(stacked), len(names)), dtype=np.float32)
    labels = [[names[i] for i in (np.flatnonzero(p > 0.4) if multi_label else [p.argmax()])] for p in probabilities]
    grey = np.full((height, width, 3), 128, np.uint8)
    return People(stacked, probabilities.mean(1), labels, probabilities, names, (width, height), grey, note)


def texts(container: Figure | Axes) -> list[str]:
    axes = container.get_axes() if isinstance(container, Figure) else [container]
    return [text.get_text() for one in axes for text in one.texts]


def outlines(ax: Axes) -> list[Rectangle]:
    return [patch for patch in ax.patches if isinstance(patch, Rectangle) and not patch.get_fill()]


def contains(outer: BboxBase, inner: BboxBase) -> bool:
    return bool((outer.min <= inner.min).all() and (inner.max <= outer.max).all())


CORNERS = [[0, 0, 60, 60], [740, 0, 800, 50], [0, 380, 70, 450], [720, 400, 800, 450], [300, 100, 500, 400]]
CROWD = [[300 + i, 100 + i, 420 + i, 260 + i] for i in range(9)]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(
    ("width", "height", "boxes"),
    [
        (800, 450, CORNERS),
        (800, 450, CROWD),
        (800, 450, []),
        (450, 800, [[0, 0, 40, 40], [410, 700, 450, 800]]),
        (512, 512, [[0, 0, 512, 512]]),
        (40, 30, [[10, 5, 30, 25]]),
        (200, 1000, [[0, 0, 200, 100]] * 7),
    ],
)
def test_all_text_stays_on_the_figure_and_tags_on_the_image(
    width: int, height: int, boxes: Any, multi_label: bool
) -> None:
    people = scene(width, height, boxes, multi_label, note="A remark about the weights. " * 12)
    target = SimpleNamespace(boxes=people.boxes[1:], labels=np.ones((max(len(people) - 1, 0), len(people.class_names))))
    figure = draw_people(people.source, people, target)
    figure.canvas.draw()
    for ax in figure.get_axes():
        for text in ax.texts:
            assert contains(figure.bbox, text.get_window_extent()), text
    image = figure.get_axes()[0]
    for tag in image.texts:
        patch = tag.get_bbox_patch()
        assert patch is not None
        assert contains(image.get_window_extent().padded(1), patch.get_window_extent()), tag


def test_text_on_cards_does_not_overlap() -> None:
    people = scene(800, 450, CORNERS, multi_label=True, note="A remark.")
    figure = draw_people(people.source, people, SimpleNamespace(boxes=people.boxes, labels=np.ones((5, 26))))
    figure.canvas.draw()
    extents = [text.get_window_extent().padded(-2) for text in figure.get_axes()[1].texts]
    assert not any(one.overlaps(other) for one, other in combinations(extents, 2))


def test_tags_of_two_people_in_one_place_do_not_overlap() -> None:
    people = scene(800, 450, [[300, 100, 420, 260], [302, 101, 420, 260]])
    figure = draw_people(people.source, people)
    figure.canvas.draw()
    first, second = (tag.get_window_extent() for tag in figure.get_axes()[0].texts)
    assert not first.overlaps(second)


def test_boxes_are_drawn_in_pixels_of_the_image_even_when_it_is_shown_smaller() -> None:
    people = scene(4000, 3000, [[1000, 500, 2000, 2500]])
    figure = draw_people(people.source, people)
    image = figure.get_axes()[0]
    (outline,) = outlines(image)
    assert outline.get_bbox().extents.tolist() == [1000, 500, 2000, 2500]
    assert matplotlib.colors.same_color(outline.get_edgecolor(), person_color(0))
    assert image.get_xlim() == (0, 4000)
    assert image.get_ylim() == (3000, 0)


def test_the_image_itself_is_shown() -> None:
    people = scene(60, 60, [])
    halves = np.zeros((60, 60, 3), np.uint8)
    halves[:, 30:] = (0, 0, 255)
    figure = draw_people(halves, people)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    frame = figure.get_axes()[0].get_window_extent()
    row = int(figure.bbox.height - (frame.y0 + frame.y1) / 2)
    left, right = (int(frame.x0 + frame.width * share) for share in (0.25, 0.75))
    assert pixels[row, left].tolist() == [0, 0, 0, 255]
    assert pixels[row, right].tolist() == [0, 0, 255, 255]


def test_target_shows_true_boxes_and_marks_missed_people() -> None:
    people = scene(400, 300, [[10, 10, 100, 100]])
    right = CAER_S_CLASSES.index(people.labels[0][0])
    missed = [200.0, 100, 300, 250]
    target = SimpleNamespace(boxes=[[10, 10, 100, 100], missed], labels=np.array([right, 0]))
    figure = draw_people(people.source, people, target)
    image, cards = figure.get_axes()
    red = [box for box in outlines(image) if matplotlib.colors.same_color(box.get_edgecolor(), WRONG_COLOR)]
    assert [box.get_bbox().extents.tolist() for box in red] == [missed]
    assert len(outlines(image)) == 3
    assert texts(image) == [f"1 {people.labels[0][0]}", f"{WRONG} missed"]
    assert f"{WRONG} missed person" in texts(cards)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_below_it_is_said_what_lines_marks_and_numbers_mean() -> None:
    people = scene(400, 300, [[10, 10, 100, 100]], note="A remark.")
    true = SimpleNamespace(boxes=people.boxes, labels=np.array([0]))
    both = SimpleNamespace(boxes=[*people.boxes, [200, 100, 300, 250]], labels=np.array([0, 0]))
    (plain,) = draw_people(people.source, people).texts
    assert "Bars: probability of an emotion" in plain.get_text()
    assert "Person score" in plain.get_text()
    assert "not reported" not in plain.get_text()
    assert plain.get_text().endswith("A remark.")
    compared = draw_people(people.source, people, true)
    assert legend(compared) == ["box found by the model", "true box, as annotated"]
    assert all(mark in compared.texts[0].get_text() for mark in (RIGHT, WRONG, MISSED))
    assert legend(draw_people(people.source, people, both))[2:] == ["true box, person missed"]
    assert "probability" in texts(compared)


def test_the_note_stands_once_on_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (pages.append(self), save(self, *args, **options))
    )
    people = scene(400, 300, [[10, 10, 100, 100]], note="A remark.")
    contact_sheet([(people.source, people, None)] * 4, tmp_path / "page.png")
    assert str([text.get_text() for text in pages[0].findobj(Text)]).count("A remark.") == 1


@pytest.mark.parametrize(("ending", "begins"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")])
def test_pages_are_written_in_the_format_of_the_ending(tmp_path: Path, ending: str, begins: bytes) -> None:
    people = scene(40, 30, [[10, 5, 30, 25]])
    one, other = tmp_path / f"one{ending}", tmp_path / f"other{ending}"
    for path in (one, other):
        contact_sheet([(people.source, people, None)], path, dpi=50)
    assert one.read_bytes().startswith(begins)
    assert one.read_bytes() == other.read_bytes(), "equal figures are equal files"
    assert sorted(tmp_path.iterdir()) == [one, other]


def test_wrong_emotion_is_crossed_on_the_image() -> None:
    people = scene(400, 300, [[10, 10, 100, 100]])
    wrong = (CAER_S_CLASSES.index(people.labels[0][0]) + 1) % 7
    figure = draw_people(people.source, people, SimpleNamespace(boxes=people.boxes, labels=np.array([wrong])))
    assert texts(figure.get_axes()[0]) == [f"1 {WRONG} {people.labels[0][0]}"]


def test_draws_into_given_axes_only() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    people = scene(400, 300, [[10, 10, 100, 100]])
    assert people.plot(ax=left) is figure
    assert figure.get_axes() == [left, right]
    assert len(outlines(left)) == 1
    assert not right.patches
    assert not right.images


def test_class_names_are_not_read_as_formulas() -> None:
    people = scene(400, 300, [[10, 10, 100, 100]])
    renamed = People(
        people.boxes, people.scores, [["$x"]], people.probabilities, ("$x", "a$", *"bcdef"), (400, 300), people.source
    )
    figure = draw_people(people.source, renamed)
    figure.canvas.draw()
    assert "1 $x" in texts(figure)


def test_leaves_pyplot_alone_and_shows_itself_in_notebooks() -> None:
    before = Gcf.get_all_fig_managers()
    people = scene(40, 30, [[10, 5, 30, 25]])
    image = people.plot()._repr_png_()  # type: ignore[attr-defined]
    assert image.startswith(b"\x89PNG")
    assert Gcf.get_all_fig_managers() == before


def test_contact_sheet_writes_one_page_with_every_image(tmp_path: Path) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255)]
    items = []
    for color in colors:
        people = scene(400, 300, [])
        items.append((np.full((300, 400, 3), color, np.uint8), people, None))
    path = tmp_path / "sheet.png"
    contact_sheet(items, path, columns=3)
    page = np.asarray(Image.open(path).convert("RGB"))
    centers = [np.argwhere((page == color).all(-1)).mean(0) for color in colors]
    rows, columns = np.array(centers).T
    assert rows[0] == pytest.approx(rows[1]) == pytest.approx(rows[2])
    assert rows[3] > rows[0] + 100
    assert columns[0] == pytest.approx(columns[3])
    assert columns[0] < columns[1] < columns[2]


def test_rejects(tmp_path: Path) -> None:
    people = scene(40, 30, [[10, 5, 30, 25]])
    path = tmp_path / "sheet.png"
    with pytest.raises(ValueError, match="max_labels must be at least 1"):
        draw_people(people.source, people, max_labels=0)
    with pytest.raises(ValueError, match="items must hold at least one image"):
        contact_sheet([], path)
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        contact_sheet([(people.source, people, None)], path, columns=0)
    with pytest.raises(ValueError, match="300 images are too many for one page"):
        contact_sheet([(people.source, people, None)] * 300, path, columns=1)
    with pytest.raises(ValueError, match=r"ending in \.png, \.svg, \.pdf, got .*sheet\.jpg"):
        contact_sheet([(people.source, people, None)], path.with_suffix(".jpg"))
    with pytest.raises(
        TypeError, match=r"draw_people: people must be a dsct\.People, the result for one image, got list"
    ):
        draw_people(people.source, [people])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size of that in which people were found, 40 x 30, got 50 x 30"):
        draw_people(np.zeros((30, 50, 3), np.uint8), people)
    with pytest.raises(ValueError, match="contact_sheet: image must have the size"):
        contact_sheet([(np.zeros((30, 50, 3), np.uint8), people, None)], path)
    with pytest.raises(TypeError, match=r"items must be tuples \(image, people, target or None\)"):
        contact_sheet([(people.source, people)], path)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="dpi must be above 0, got 0"):
        contact_sheet([(people.source, people, None)], path, dpi=0)
    assert not path.exists()


class SlowFigure(Figure):
    """Takes its time to be saved."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        time.sleep(0.1)
        super().savefig(*arguments, **options)
        time.sleep(0.1)


def test_threads_that_save_figures_leave_the_settings_as_they_were(tmp_path: Path) -> None:
    own = ("pdf.fonttype", "svg.hashsalt")
    before = [matplotlib.rcParams[name] for name in own]

    def save(number: int) -> None:
        time.sleep(number / 20)
        save_figure(SlowFigure(figsize=(1, 1)), tmp_path / f"{number}.svg")

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(save, range(3)))
    assert [matplotlib.rcParams[name] for name in own] == before
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize(
    ("width", "count", "below"), [(600, 2, True), (500, 2, False), (500, 5, True), (380, 5, False)]
)
def test_cards_stand_where_the_image_leaves_room(width: int, count: int, below: bool) -> None:
    people = scene(width, 400, [[10 * i, 10, 10 * i + 100, 200] for i in range(count)])
    image = draw_people(people.source, people).get_axes()[0].get_position()
    is_in_the_middle = abs(image.x0 + image.x1 - 1) < 0.02
    assert is_in_the_middle == below


def test_a_tag_stands_above_its_box_also_at_the_lower_edge() -> None:
    people = scene(400, 300, [[100, 200, 200, 300]])
    figure = draw_people(people.source, people)
    figure.canvas.draw()
    image = figure.get_axes()[0]
    tag = image.texts[0].get_window_extent()
    assert tag.y0 >= image.transData.transform((100, 230))[1]
