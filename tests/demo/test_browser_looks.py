"""The demonstration page in a Chromium without a window: every model, width, scheme and reader."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from dsct.demo.scenes import NUMBER_OF_SCENES, scene_png
from tests.demo.browser import SCENE, active, marks, pick, upload
from tests.demo.client import encoded

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def answer_of(people: list[dict[str, Any]]) -> dict[str, Any]:
    pixel = "data:image/png;base64," + base64.b64encode(encoded(Image.new("RGB", (1, 1)))).decode()
    return {"width": 100, "height": 100, "note": None, "people": people, "preview": pixel}


def person(labels: list[str], classes: int, box: list[float], relation: str | None) -> dict[str, Any]:
    chosen = [] if relation is None else [relation] * 3
    layer = {
        "reference_point": [50, 50],
        "sampling_points": [[10, 10], [20, 300]],
        "sampling_weights": [0.5, 0.5],
        "context_points": [[30, 30]] * len(chosen),
        "context_weights": [0.0] * len(chosen),
        "context_relation": chosen,
        "context_sampling_points": [],
        "context_sampling_weights": [],
    }
    probabilities = {f"Class {number}": 0.9 / (number + 1) for number in range(classes)}
    return {"box": box, "score": 0.5, "labels": labels, "probabilities": probabilities, "layers": [layer]}


def test_many_classes_many_people_and_models_without_selection(page: Page) -> None:
    people = [
        person(["Class 9", "Class 2"], 26, [0, 0, 100, 100], "all"),
        person([], 26, [40, 40, 50, 50], None),
        *[person(["Class 0"], 26, [number, 0, number + 20, 20], "all") for number in range(5)],
    ]
    page.route("**/api/people?everyone=1", lambda route: route.fulfill(json=answer_of(people)))
    pick(page)
    first = page.locator(".card").nth(0)
    assert first.locator("h3").inner_text().split("\n") == ["1", "Class 2, Class 9"]
    assert page.locator(".tag").nth(0).inner_text() == "1 Class 2 +1"
    assert first.locator(".emotions > li:visible").count() == 7
    first.get_by_text("19 more").click()
    assert first.locator(".emotions > li:visible").count() == 26
    assert page.locator(".card").nth(1).locator("h3").inner_text().endswith("no emotion above its threshold")
    page.locator(".box").nth(1).hover()  # it lies inside the first one
    assert active(page, ".card") == [1]
    assert "no context in this layer" in page.locator("#caption").inner_text()
    page.locator(".card").nth(0).hover()
    assert (marks(page, "all"), marks(page, "spatial")) == (3, 0)
    assert "2 sampling points (1 outside the image), 3 context queries" in page.locator("#caption").inner_text()
    assert page.locator("#marks input").count() == 4
    style = "box => getComputedStyle(box).borderTopStyle"
    assert page.locator(".box").nth(0).evaluate(style) == "solid"
    assert page.locator(".box").nth(6).evaluate(style) == "dashed", "the seventh person has the colour of the first"


def test_on_a_phone_the_image_stays_in_sight_of_the_cards(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    pick(page, 1)
    page.locator(".card").nth(3).click()
    box, image = page.locator(".card").nth(3).bounding_box(), page.locator("#image").bounding_box()
    assert box is not None
    assert image is not None
    assert image["y"] >= 0
    assert image["y"] + image["height"] <= box["y"] + box["height"] <= 844
    assert marks(page, "sampling") == 64


def test_on_a_phone_emotions_come_before_what_can_be_switched(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    pick(page)
    tops = [page.locator(part).first.evaluate("one => one.getBoundingClientRect().top") for part in (
        "#view", "#caption", ".card", "#controls"
    )]  # fmt: skip
    assert tops == sorted(tops)
    assert tops[2] < 844, "the first card can be seen at once"


def test_a_refusal_is_in_sight_on_the_smallest_phone(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 480})
    upload(page, "notes.txt", b"hello")
    page.get_by_role("alert").wait_for()
    box = page.get_by_role("alert").bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= box["y"] + box["height"] <= 481


def test_without_a_pointer_the_hint_says_what_to_tap(browser: Browser, demo_address: str, page: Page) -> None:
    pick(page)
    page.mouse.move(2, 2)
    assert page.locator("#caption").inner_text().startswith("Point at a person")
    assert page.locator(".drop span").first.inner_text() == "Choose an image, drop it or paste it"
    phone = browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    touched = phone.new_page()
    touched.goto(demo_address)
    touched.locator("#status", has_text="found").wait_for()
    assert touched.locator(".drop span").first.inner_text() == "Choose an image"
    assert touched.evaluate("() => scrollY") == 0
    touched.locator("#scenes button").nth(SCENE).tap()
    touched.locator("#status", has_text="found").wait_for()
    assert touched.locator("#caption").inner_text().startswith("Tap a person")
    touched.locator(".box").nth(1).tap()
    assert (active(touched, ".card"), marks(touched, "sampling")) == ([1], 64)
    touched.locator("#view").tap(position={"x": 3, "y": 3})
    assert (active(touched, ".card"), marks(touched, "sampling")) == ([], 0)
    phone.close()


@pytest.mark.parametrize("width", [1000, 1280])
def test_all_scenes_are_in_sight_on_a_desk(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    last = page.locator("#scenes button").last.bounding_box()
    assert last is not None
    assert last["x"] + last["width"] <= width
    assert last["width"] > 60
    assert page.locator("#scenes").evaluate("scenes => scenes.scrollWidth <= scenes.clientWidth")


def test_picking_scene_after_scene_does_not_move_them(page: Page) -> None:
    for scene in range(NUMBER_OF_SCENES):
        pick(page, scene)
        assert page.evaluate("() => scrollY") == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1200, 2200])
def test_no_width_needs_scrolling_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    upload(page, "a" * 200 + ".png", scene_png(1))
    page.locator("#status", has_text="4 people found").wait_for()
    page.locator(".card").nth(0).hover()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def luminance(color: str) -> float:
    channels = [int(value) / 255 for value in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    pick(page, 5)
    contrasts = page.evaluate(
        """() => ["#note", "#limits", "#caption", "#status", ".drop b", "legend", ".emotions li", ".chip", "#download"]
            .flatMap((selector) => [...document.querySelectorAll(selector)]).map((one) => {
            let behind = one;
            while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
            return [one.className || one.id, getComputedStyle(one).color, getComputedStyle(behind).backgroundColor];
        })"""
    )
    assert len(contrasts) > 20
    for name, ink, ground in contrasts:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name
    page_is_light = luminance(page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")) > 0.5
    assert page_is_light == (scheme == "light")


def test_everything_that_can_be_used_has_a_name(page: Page) -> None:
    pick(page)
    controls = page.locator("button:visible, input:visible").count()
    named = re.findall(r"- '?(?:button|radio|checkbox|slider)\b( \".+\")?", page.locator("body").aria_snapshot())
    assert len(named) == controls > 15
    assert all(named)
