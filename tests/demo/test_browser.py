"""The demonstration page in a Chromium without a window: people, and where the model looked for them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import dsct
from dsct.cli.demo import SHIPPED_NAME
from dsct.demo.scenes import NUMBER_OF_SCENES, scene_png
from dsct.prediction.shipped_weights import SHIPPED_NOTE
from tests.demo.browser import SCENE, active, marks, pick

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_the_page_says_what_it_is_and_warns_of_the_weights(page: Page) -> None:
    assert page.title() == "dsct demo"
    assert page.locator("#note").inner_text() == SHIPPED_NOTE
    assert page.locator("#model").inner_text() == f"Model: {SHIPPED_NAME}"
    assert page.locator("#limits").inner_text() == "up to 20 MB and 50 megapixels"
    assert not page.locator("#error").is_visible()
    assert page.get_by_role("button", name="Synthetic scene: beach, 3 people").count() == 1


def test_the_first_scene_is_shown_at_once(page: Page) -> None:
    assert page.locator("#status").inner_text() == "synthetic scene 1 (480 x 360): 2 people found"
    assert page.locator("#scenes button").first.get_attribute("aria-pressed") == "true"
    assert page.locator(".box").count() == page.locator(".card").count() == 2
    image = page.locator("#image").bounding_box()
    assert image is not None
    assert image["y"] + image["height"] <= 900, "all of it in sight"
    assert page.evaluate("() => scrollY") == 0


def test_a_scene_shows_people_with_bars(page: Page) -> None:
    pick(page)
    people = dsct.predict(Image.open(io.BytesIO(scene_png(SCENE))))
    assert page.locator("#status").inner_text() == "synthetic scene 5 (480 x 360): 3 people found"
    assert page.locator(".box").count() == page.locator(".card").count() == len(people) == 3
    image = page.locator("#image").bounding_box()
    assert image is not None
    assert page.locator("#image").evaluate("image => image.naturalWidth") == 480
    for number, person in enumerate(people):
        box = page.locator(".box").nth(number).bounding_box()
        assert box is not None
        scale = image["width"] / 480
        edges = [box["x"] - image["x"], box["y"] - image["y"], box["width"], box["height"]]
        x1, y1, x2, y2 = person.box
        assert edges == pytest.approx([scale * value for value in (x1, y1, x2 - x1, y2 - y1)], abs=1)
        card = page.locator(".card").nth(number)
        (label,) = person.labels
        assert card.locator(".score").inner_text() == f"person score {person.score:.3f}"
        first = card.locator(".emotions li").first
        assert first.inner_text().split() == [label, "(reported)", f"{100 * person.probabilities[label]:.0f}", "%"]
        assert first.evaluate("row => getComputedStyle(row).fontWeight") == "700"
        lengths = card.locator(".bar").evaluate_all(
            "bars => bars.map(bar => bar.firstChild.getBoundingClientRect().width / bar.getBoundingClientRect().width)"
        )
        assert lengths == pytest.approx(sorted(person.probabilities.values(), reverse=True), abs=0.01)


@pytest.mark.parametrize("part", [".box", ".card"])
def test_pointing_at_a_person_shows_where_the_model_looked(page: Page, part: str) -> None:
    pick(page)
    assert marks(page, "sampling") == 0
    page.locator(part).nth(1).hover()
    assert active(page, ".box") == active(page, ".card") == [1]
    assert (marks(page, "sampling"), marks(page, "reference")) == (64, 1)
    assert (marks(page, "spatial"), marks(page, "semantic"), marks(page, "beyond")) == (12, 6, 0)
    strengths = page.locator(".mark.sampling").evaluate_all(
        "all => all.map(one => Number(one.getAttribute('opacity')))"
    )
    assert max(strengths) == 1
    assert len(set(strengths)) > 10
    radii = page.locator(".mark.spatial circle").evaluate_all("all => all.map(one => one.r.baseVal.value)")
    assert max(radii) == 13, "the heaviest"
    assert min(radii) < 5
    assert "Person 2" in page.locator("#caption").inner_text()
    assert "64 sampling points" in page.locator("#caption").inner_text()
    page.mouse.move(2, 2)
    assert active(page, ".box") == active(page, ".card") == []
    assert marks(page, "sampling") == 0


def test_the_reference_point_is_drawn_where_it_is(page: Page, demo_address: str) -> None:
    pick(page)
    answer = page.request.post(f"{demo_address}/api/people", data=scene_png(SCENE)).json()
    x, y = answer["people"][1]["layers"][-1]["reference_point"]
    page.locator(".box").nth(1).hover()
    image, mark = page.locator("#image").bounding_box(), page.locator(".mark.reference").bounding_box()
    assert image is not None
    assert mark is not None
    scale = image["width"] / 480
    centre = (mark["x"] + mark["width"] / 2 - image["x"], mark["y"] + mark["height"] / 2 - image["y"])
    assert centre == pytest.approx((scale * x, scale * y), abs=1)


def test_a_click_keeps_a_person_until_escape(page: Page) -> None:
    pick(page)
    page.locator(".box").nth(2).click()
    page.mouse.move(2, 2)
    assert active(page, ".card") == [2]
    page.locator(".card").nth(0).hover()
    assert active(page, ".card") == [0], "pointing goes before keeping"
    page.mouse.move(2, 2)
    assert active(page, ".card") == [2]
    page.keyboard.press("Escape")
    assert active(page, ".card") == []
    page.locator(".box").nth(2).click()
    page.locator("#view").click(position={"x": 3, "y": 3})
    page.mouse.move(2, 2)
    assert active(page, ".card") == []


def test_the_keyboard_alone_reaches_everything(page: Page) -> None:
    page.locator("#scenes button").nth(SCENE).focus()
    page.keyboard.press("Enter")
    page.locator("#status", has_text="found").wait_for()
    for _ in range(NUMBER_OF_SCENES - SCENE):
        page.keyboard.press("Tab")
    reached = []
    for _ in range(3):
        reached.append((active(page, ".box"), marks(page, "sampling")))
        assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Tab")
    assert reached == [([0], 64), ([1], 64), ([2], 64)]
    assert page.evaluate("() => document.activeElement.name") == "layer"
    page.keyboard.press("ArrowLeft")
    assert page.locator("input[name=layer]").first.is_checked()
    assert active(page, ".box") == [2], "choosing what is shown does not lose the person"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert marks(page, "sampling") == 0
    page.locator(".card").nth(0).focus()
    assert active(page, ".box") == [0]


def test_layers_and_marks_can_be_chosen(page: Page) -> None:
    pick(page)
    page.locator(".box").nth(0).click()
    page.mouse.move(2, 2)

    def places() -> list[str]:
        found: list[str] = page.locator(".mark.sampling").evaluate_all(
            "all => all.map(one => one.getAttribute('transform'))"
        )
        return found

    last = places()
    page.get_by_role("radio", name="1", exact=True).check()
    assert len(places()) == len(last)
    assert places() != last
    for kind in ("sampling", "reference", "spatial", "semantic"):
        assert marks(page, kind) > 0
        page.locator(f"input[name={kind}]").uncheck()
        assert marks(page, kind) == 0
    page.get_by_role("checkbox", name="sampling points of that context (those with the most weight)").check()
    assert marks(page, "beyond") == 200
    pick(page, 1)
    page.locator(".box").nth(0).hover()
    assert (marks(page, "beyond"), marks(page, "sampling")) == (200, 0), "a choice holds for the next image"
    assert page.get_by_role("radio", name="1", exact=True).is_checked()


def test_the_marks_are_explained(page: Page) -> None:
    pick(page)
    explanation = page.locator(".meaning p").last
    assert not explanation.is_visible()
    page.get_by_text("What do these marks mean?").click()
    assert explanation.is_visible()
    explained = page.locator(".meaning b").all_inner_texts()
    labels = " ".join(page.locator("#marks label").all_inner_texts())
    assert len(explained) == 5
    assert all(word.rstrip("s") in labels for word in explained)


def test_marks_keep_their_size_on_every_screen(page: Page) -> None:
    def size() -> float:
        box = page.locator(".mark.reference").bounding_box()
        assert box is not None
        return box["width"]

    pick(page)
    page.locator(".box").nth(0).click()
    wide = size()
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(200)
    assert size() == pytest.approx(wide, abs=1)
