"""The page of annotated images: which images it shows, what it says about them, and that it reads well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from dsct.config import EMOTIC_CLASSES
from dsct.data.checks.check import check
from dsct.visualize.annotated_sheet import choose_images, contact_sheet
from dsct.visualize.drawing.panel import Panel
from dsct.visualize.drawing.person_cards import MOST_DRAWN
from tests.data.annotated_stand_in import Records, drawn_on_disk, record


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were written, drawn and all."""
    written: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: Any, **options: Any) -> None:
        written.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return written


def texts(page: Figure) -> list[str]:
    return [text.get_text() for axes in page.axes for text in axes.texts]


@given(
    sizes=st.dictionaries(st.sampled_from(["train", "val", "test"]), st.integers(0, 9), min_size=1),
    count=st.integers(1, 12),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_chosen_images_are_distinct_and_as_many_as_there_are(
    sizes: dict[str, int], count: int, seed: int, data: st.DataObject
) -> None:
    everything = [(split, index) for split, size in sizes.items() for index in range(size)]
    found = data.draw(st.lists(st.sampled_from(everything), unique=True)) if everything else []
    chosen = choose_images(sizes, found, count, seed)
    assert len(set(chosen)) == len(chosen) == min(count, len(everything))
    assert set(chosen) <= set(everything)
    kept = min(len(found), max(1, count * 2 // 3))
    assert chosen[:kept] == found[:kept]
    assert chosen == choose_images(sizes, found, count, seed)


def test_some_images_are_ordinary_and_others_come_with_another_seed() -> None:
    found = [("train", index) for index in range(50)]
    chosen = choose_images({"train": 100}, found, 12, 0)
    assert chosen[:8] == found[:8]
    assert not set(chosen[8:]) & set(found)
    assert chosen != choose_images({"train": 100}, found, 12, 1)


def test_findings_come_first_and_in_words(tmp_path: Path, pages: list[Figure]) -> None:
    data = drawn_on_disk(tmp_path, size=5)
    missing = data.records[3].image_path
    assert missing is not None
    missing.unlink()
    contact_sheet([data], check([data]).findings, tmp_path / "page.png", count=4, columns=2)
    said = texts(pages[0])
    headings = [text for text in said if text.startswith("train ")]
    assert headings[0] == "train 3"
    assert len(headings) == 4
    assert {"train_0003.jpg", "missing image: no such file"} <= set(said)


def test_every_person_has_box_classes_and_size(tmp_path: Path, pages: list[Figure]) -> None:
    one = record(None, [[10, 20, 60, 90], [80, 30, 120, 70]], np.eye(26, dtype=np.int64)[[3, 5]] + np.eye(26)[[9, 1]])
    data = Records([one], "val", EMOTIC_CLASSES, True)
    contact_sheet([data], (), tmp_path / "page.png")
    said = texts(pages[0])
    assert {"val 0", "Anticipation, Doubt/Confusion", "Anger, Confidence", "50 x 70 px", "40 x 40 px"} <= set(said)
    assert said.count("1") == said.count("2") == 2, "on the image and on the card"
    boxes = [patch for patch in pages[0].axes[0].patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert [(b.get_x(), b.get_y(), b.get_width(), b.get_height()) for b in boxes] == [
        (10, 20, 50, 70), (80, 30, 40, 40),
    ]  # fmt: skip


def test_a_person_of_no_class_says_so(tmp_path: Path, pages: list[Figure]) -> None:
    contact_sheet([Records([record(None, [0, 0, 20, 20], [9])])], (), tmp_path / "page.png")
    assert "no class" in texts(pages[0])


def test_boxes_follow_a_photograph_that_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (3200, 1600)).save(path)
    panels: list[Panel] = []
    monkeypatch.setattr("dsct.visualize.annotated_sheet.write_page", lambda made, *arguments: panels.extend(made))
    contact_sheet([Records([record(path, [400, 800, 1200, 1600], size=(3200, 1600))])], (), tmp_path / "page.png")
    assert panels[0].image.size == (800, 400)
    assert panels[0].people.boxes.tolist() == [[100, 200, 300, 400]]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("count", [1, 5])
def test_the_page_is_as_wide_as_a_notebook_and_cuts_nothing_off(
    tmp_path: Path, pages: list[Figure], multi_label: bool, count: int
) -> None:
    data = drawn_on_disk(tmp_path, multi_label=multi_label)
    contact_sheet([data], check([data]).findings, tmp_path / "page.png", count=count)
    with Image.open(tmp_path / "page.png") as page:
        assert page.width <= 1000
    for axes in pages[0].axes:
        for text in axes.texts:
            extent, frame = text.get_window_extent(), pages[0].bbox
            assert frame.x0 <= extent.x0
            assert extent.x1 <= frame.x1
            assert frame.y0 <= extent.y0
            assert extent.y1 <= frame.y1


def test_a_long_file_name_stays_in_its_column(tmp_path: Path, pages: list[Figure]) -> None:
    path = tmp_path / ("COCO_train2014_" * 8 + ".png")
    Image.new("RGB", (160, 120)).save(path)
    contact_sheet([Records([record(path, [0, 0, 20, 20])])], (), tmp_path / "page.png")
    assert max(text.get_window_extent().x1 for axes in pages[0].axes for text in axes.texts) <= pages[0].bbox.x1


def test_bad_arguments(tmp_path: Path) -> None:
    data = Records([record(None, [0, 0, 20, 20])])
    with pytest.raises(ValueError, match="count and columns must be at least 1, got 0 and 3"):
        contact_sheet([data], (), tmp_path / "page.png", count=0)
    with pytest.raises(ValueError, match="at least one image, got none"):
        contact_sheet([Records([])], (), tmp_path / "page.png")


def test_of_very_many_people_the_page_shows_the_first(tmp_path: Path, pages: list[Figure]) -> None:
    boxes = np.tile(np.array([[1, 1, 20, 20]], dtype=np.float32), (3 * MOST_DRAWN, 1))
    contact_sheet([Records([record(None, boxes)])], [], tmp_path / "page.png")
    image, cards = pages[0].axes
    assert len(image.texts) == len(image.patches) == MOST_DRAWN
    said = [text.get_text() for text in cards.texts]
    assert said.count("19 x 19 px") == MOST_DRAWN
    assert said[-1] == f"{2 * MOST_DRAWN} more people, not drawn"
