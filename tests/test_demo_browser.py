"""The demonstration page as a person sees it, in a Chromium without a window.

Skipped where there is no Chromium or playwright; ``DSCT_REQUIRE_BROWSER=1`` makes that a failure.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import dsct
from demo_browser import missing, open_browser, running_demo
from dsct.demo.scenes import NUMBER_OF_SCENES, scene_png
from dsct.predict import SHIPPED_NOTE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

SCENE = 4  # three people at the beach


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if reason := missing():
        if os.environ.get("DSCT_REQUIRE_BROWSER") == "1":
            pytest.fail(f"DSCT_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_demo() as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The open page; afterwards nothing may have gone wrong in it, and nothing may have left this computer."""
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page.set_default_timeout(20_000)
    problems: list[str] = []
    requests: list[str] = []

    def record(message: ConsoleMessage) -> None:
        refused = message.text.startswith("Failed to load resource") and message.location["url"].endswith("/api/people")
        if message.type in ("error", "warning") and not refused:
            problems.append(message.text)

    page.on("console", record)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.locator("#scenes button").nth(NUMBER_OF_SCENES - 1).wait_for()
    yield page
    page.close()
    assert problems == []
    assert {urlsplit(url).netloc for url in requests if not url.startswith(("data:", "blob:"))} == {
        urlsplit(address).netloc
    }


def pick(page: Page, scene: int = SCENE) -> None:
    page.locator("#scenes button").nth(scene).click()
    page.locator("#status", has_text="found").wait_for()


def upload(page: Page, name: str, content: bytes) -> None:
    page.set_input_files("#file", files=[{"name": name, "mimeType": "image/png", "buffer": content}])


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def marks(page: Page, kind: str) -> int:
    return page.locator(f"#looked-at .mark.{kind}").count()


def active(page: Page, kind: str) -> list[int]:
    """Numbers of the boxes or cards that are lit up."""
    classes = page.locator(kind).evaluate_all("all => all.map(one => one.classList.contains('active'))")
    return [number for number, lit in enumerate(classes) if lit]


def test_the_page_says_what_it_is_and_warns_of_the_weights(page: Page) -> None:
    assert page.title() == "dsct demo"
    assert page.locator("#note").inner_text() == SHIPPED_NOTE
    assert page.locator("#limits").inner_text() == "up to 20 MB and 50 megapixels"
    assert not page.locator("#result").is_visible()
    assert not page.locator("#error").is_visible()
    assert page.get_by_role("button", name="Drawn scene: beach, 3 people").count() == 1


def test_a_scene_shows_people_with_bars(page: Page) -> None:
    pick(page)
    people = dsct.predict(Image.open(io.BytesIO(scene_png(SCENE))))
    assert page.locator("#status").inner_text() == "drawn scene 5 (480 x 360): 3 people found"
    assert page.locator(".box").count() == page.locator(".card").count() == len(people) == 3
    picture = page.locator("#image").bounding_box()
    assert picture is not None
    assert page.locator("#image").evaluate("image => image.naturalWidth") == 480
    for number, person in enumerate(people):
        box = page.locator(".box").nth(number).bounding_box()
        assert box is not None
        scale = picture["width"] / 480
        edges = [box["x"] - picture["x"], box["y"] - picture["y"], box["width"], box["height"]]
        x1, y1, x2, y2 = person.box
        assert edges == pytest.approx([scale * value for value in (x1, y1, x2 - x1, y2 - y1)], abs=1)
        card = page.locator(".card").nth(number)
        (label,) = person.labels
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


def test_the_reference_point_is_drawn_where_it_is(page: Page, address: str) -> None:
    pick(page)
    answer = page.request.post(f"{address}/api/people", data=scene_png(SCENE)).json()
    x, y = answer["people"][1]["layers"][-1]["reference_point"]
    page.locator(".box").nth(1).hover()
    picture, mark = page.locator("#image").bounding_box(), page.locator(".mark.reference").bounding_box()
    assert picture is not None
    assert mark is not None
    scale = picture["width"] / 480
    centre = (mark["x"] + mark["width"] / 2 - picture["x"], mark["y"] + mark["height"] / 2 - picture["y"])
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
    page.locator("#picture").click(position={"x": 3, "y": 3})
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
    page.get_by_role("checkbox", name="what that context sampled (strongest points)").check()
    assert marks(page, "beyond") == 200
    pick(page, 1)
    page.locator(".box").nth(0).hover()
    assert (marks(page, "beyond"), marks(page, "sampling")) == (200, 0), "a choice holds for the next picture"
    assert page.get_by_role("radio", name="1", exact=True).is_checked()


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


def hand_over(page: Page, event: str, names: list[str], content: bytes | int) -> None:
    """Drops or pastes files with this content, or with this many zeros."""
    page.evaluate(
        """([event, names, content]) => {
            const data = new DataTransfer();
            for (const name of names) data.items.add(new File([new Uint8Array(content)], name));
            const handed = event === "drop"
                ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
            document.body.dispatchEvent(handed);
        }""",
        [event, names, content if isinstance(content, int) else list(content)],
    )


def test_uploads_by_choosing_dropping_and_pasting(page: Page) -> None:
    upload(page, "chosen.png", scene_png(0))
    page.locator("#status", has_text="chosen.png (480 x 360): 2 people found").wait_for()
    for event in ("drop", "paste"):
        hand_over(page, event, [f"{event}.png"], scene_png(0))
        page.locator("#status", has_text=f"{event}.png (480 x 360): 2 people found").wait_for()


def test_of_several_files_the_first_is_taken_and_it_is_said(page: Page) -> None:
    hand_over(page, "drop", ["a.png", "b.png"], scene_png(0))
    page.locator("#status", has_text="a.png (the first of 2 files) (480 x 360)").wait_for()


@pytest.mark.parametrize(("event", "done"), [("drop", "dropped"), ("paste", "pasted")])
def test_what_holds_no_file_is_said(page: Page, event: str, done: str) -> None:
    hand_over(page, event, [], 0)
    assert page.get_by_role("alert").inner_text() == f"There is no image file in what was {done}."


def test_a_file_that_is_no_image_is_refused_in_the_page(page: Page) -> None:
    pick(page)
    name = "<img src=x onerror=alert(1)>.png"  # a name is text, whatever it looks like
    upload(page, name, b"hello")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == (
        f"{name}: This file is not an image that dsct reads: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF."
    )
    assert not page.locator("#result").is_visible(), "people of the picture before would seem to be of this one"
    assert page.locator("img[src=x]").count() == 0
    pick(page)
    assert not alert.is_visible()
    upload(page, name, scene_png(0))
    page.locator("#status", has_text=f"{name} (480 x 360)").wait_for()
    assert page.locator("img[src=x]").count() == 0


def test_a_file_that_is_too_large_is_not_even_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    hand_over(page, "drop", ["huge.png"], 20_500_000)
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == ("huge.png: This file is too large: at most 20 MB are taken; this one has 20.5 MB.")
    assert sent == []


def test_nobody_found_is_said(page: Page) -> None:
    upload(page, "white.png", encoded(Image.new("RGB", (64, 48), "white")))
    page.locator("#status", has_text="white.png (64 x 48): nobody found").wait_for()
    assert page.locator("#caption").inner_text() == "Nobody was found in this picture."
    assert page.locator(".box, .card").count() == 0
    assert not page.locator("#controls").is_visible()


def test_looking_is_visible_and_the_latest_picture_wins(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/people", lambda route: held.append(route))
    upload(page, "first.png", scene_png(0))
    status = page.locator("#status.busy")
    status.wait_for()
    assert status.inner_text() == "Looking at first.png …"
    upload(page, "second.png", scene_png(1))
    page.locator("#status", has_text="Looking at second.png …").wait_for()
    page.wait_for_timeout(100)
    assert len(held) == 2
    held[1].continue_()
    page.locator("#status", has_text="second.png (480 x 360): 4 people found").wait_for()
    assert page.locator("#status.busy").count() == 0


def test_a_server_that_is_gone_is_said(page: Page) -> None:
    page.route("**/api/people", lambda route: route.fulfill(status=502, body="not JSON"))
    upload(page, "a.png", scene_png(0))
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "dsct demo does not answer; does it still run in its terminal?"


def test_the_numbers_can_be_downloaded(page: Page, tmp_path: Path) -> None:
    upload(page, "my photo.jpeg", encoded(Image.open(io.BytesIO(scene_png(SCENE))), "JPEG"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()
    assert download.value.suggested_filename == "my photo.json"
    download.value.save_as(tmp_path / "people.json")
    numbers = json.loads((tmp_path / "people.json").read_text(encoding="utf-8"))
    as_predicted = dsct.predict(np.zeros((48, 64, 3), np.uint8)).to_dict()
    assert set(numbers) == set(as_predicted)
    assert (numbers["image"], numbers["width"], numbers["note"]) == ("my photo.jpeg", 480, SHIPPED_NOTE)
    assert len(numbers["people"]) == 3
    assert len(numbers["people"][0]["layers"]) == 2


def answer_of(people: list[dict[str, Any]]) -> dict[str, Any]:
    pixel = "data:image/png;base64," + base64.b64encode(encoded(Image.new("RGB", (1, 1)))).decode()
    return {"width": 100, "height": 100, "note": None, "people": people, "picture": pixel}


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
    page.route("**/api/people", lambda route: route.fulfill(json=answer_of(people)))
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
    assert "2 sampling points (1 outside the picture), 3 context queries" in page.locator("#caption").inner_text()
    assert page.locator("#marks input").count() == 4
    style = "box => getComputedStyle(box).borderTopStyle"
    assert page.locator(".box").nth(0).evaluate(style) == "solid"
    assert page.locator(".box").nth(6).evaluate(style) == "dashed", "the seventh person has the colour of the first"


def test_on_a_phone_the_picture_stays_in_sight_of_the_cards(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    pick(page, 1)
    page.locator(".card").nth(3).click()
    box, picture = page.locator(".card").nth(3).bounding_box(), page.locator("#image").bounding_box()
    assert box is not None
    assert picture is not None
    assert picture["y"] >= 0
    assert picture["y"] + picture["height"] <= box["y"] + box["height"] <= 844
    assert marks(page, "sampling") == 64


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
    controls = page.locator("button:visible, input, summary:visible").count()
    named = re.findall(r"- '?(?:button|radio|checkbox)\b( \".+\")?", page.locator("body").aria_snapshot())
    assert len(named) == controls > 15
    assert all(named)
