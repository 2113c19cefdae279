"""The demonstration page in a Chromium without a window: how images come in and results go out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageColor

import dsct
from dsct.demo.scenes import scene_png
from dsct.prediction.person_colors import person_color
from dsct.prediction.shipped_weights import SHIPPED_NOTE
from tests.demo.browser import SCENE, pick, upload
from tests.demo.client import encoded

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


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
    assert not page.locator("#result").is_visible(), "people of the previous image would seem to be of this one"
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
    assert alert.inner_text() == ("huge.png: This file is too large: the limit is 20 MB, this one has 20.5 MB.")
    assert sent == []


def test_nobody_found_is_said(page: Page) -> None:
    upload(page, "white.png", encoded(Image.new("RGB", (64, 48), "white")))
    page.locator("#status", has_text="white.png (64 x 48): nobody found").wait_for()
    assert page.locator("#caption").inner_text() == "Nobody was found in this image."
    assert page.locator(".box, .card").count() == 0
    assert not page.locator("#layers, #marks, #meaning").first.is_visible()
    assert page.locator("#least").is_visible(), "a lower threshold may find somebody"


def test_looking_is_visible_and_the_latest_image_wins(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/people?everyone=1", lambda route: held.append(route))
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
    page.route("**/api/people?everyone=1", lambda route: route.fulfill(status=502, body="not JSON"))
    upload(page, "a.png", scene_png(0))
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "dsct demo does not answer; is it still running in its terminal?"


def test_the_numbers_can_be_downloaded(page: Page, tmp_path: Path) -> None:
    upload(page, "my photo.jpeg", encoded(Image.open(io.BytesIO(scene_png(SCENE))), "JPEG"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()  # waits until it is of this image
    assert download.value.suggested_filename == "my photo.json"
    download.value.save_as(tmp_path / "people.json")
    numbers = json.loads((tmp_path / "people.json").read_text(encoding="utf-8"))
    as_predicted = dsct.predict(np.zeros((48, 64, 3), np.uint8)).to_dict()
    assert set(numbers) == set(as_predicted)
    assert (numbers["image"], numbers["width"], numbers["note"]) == ("my photo.jpeg", 480, SHIPPED_NOTE)
    assert len(numbers["people"]) == 3
    assert len(numbers["people"][0]["layers"]) == 2


def test_the_image_can_be_downloaded_with_its_boxes(page: Page, tmp_path: Path) -> None:
    pick(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the image with boxes").click()
    assert download.value.suggested_filename == "synthetic scene 5.people.png"
    download.value.save_as(tmp_path / "people.png")
    drawn = np.asarray(Image.open(tmp_path / "people.png").convert("RGB")).astype(int)
    scene = Image.open(io.BytesIO(scene_png(SCENE))).convert("RGB")
    people = dsct.predict(scene)
    assert drawn.shape == (360, 480, 3)
    for number, person in enumerate(people):
        x1, _, x2, y2 = (round(value) for value in person.box)
        color = ImageColor.getrgb(person_color(number))
        assert np.abs(drawn[y2 - 1, (x1 + x2) // 2] - color).max() < 10
    elsewhere = np.abs(drawn[:20, :40] - np.asarray(scene)[:20, :40])
    assert elsewhere.max() < 20, "the image itself"


def test_a_photo_comes_from_the_camera(page: Page) -> None:
    page.get_by_role("button", name="Take a photo").click()
    page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
    page.get_by_role("button", name="Take this photo").click()
    page.locator("#status", has_text="photo (640 x 480):").wait_for()
    assert not page.locator("#camera-view").is_visible()
    page.wait_for_function(
        "() => document.getElementById('video').srcObject === null", polling=100
    )  # the camera is off


def test_a_camera_can_be_left_alone(page: Page) -> None:
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_function("() => document.getElementById('video').srcObject === null", polling=100)
    assert page.locator("#status").inner_text().startswith("synthetic scene 1")


def test_a_camera_that_may_not_be_used_is_said(page: Page) -> None:
    page.evaluate(
        "() => navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    page.get_by_role("button", name="Take a photo").click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "The camera cannot be used: the browser was not allowed to use it."
