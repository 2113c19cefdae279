"""The demonstration page in a Chromium without a window: thresholds choose who is shown and what is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dsct
from dsct.demo.scenes import scene_png
from dsct.post_process import least_score
from tests.demo.browser import pick
from tests.demo.test_browser_looks import answer_of, person

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def move(page: Page, slider: str, value: float) -> None:
    page.locator(slider).evaluate(
        "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", value
    )


def tags(page: Page) -> list[str]:
    return page.locator(".box .tag").all_inner_texts()


def test_the_least_score_chooses_people_without_asking_the_server_again(page: Page, demo_address: str) -> None:
    pick(page)
    everyone = page.request.post(f"{demo_address}/api/people?everyone=1", data=scene_png(4)).json()["people"]
    assert len(everyone) > 3
    usual = least_score(dsct.load_model(dsct.shipped_weights.SHIPPED_WEIGHTS).config)
    assert page.locator("#least-value").inner_text() == f"{usual:.3f}"
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    move(page, "#least", 0)
    assert page.locator(".box").count() == len(everyone)
    assert page.locator("#status").inner_text() == f"synthetic scene 5 (480 x 360): {len(everyone)} people found"
    move(page, "#least", everyone[1]["score"] - 1e-6)
    assert page.locator(".card").count() == 2
    assert sent == []
    pick(page, 1)
    assert page.locator("#least-value").inner_text() != f"{usual:.3f}", "it holds for the next image"
    page.get_by_role("button", name="Reset").click()
    assert page.locator("#status").inner_text().endswith("4 people found")
    assert page.get_by_role("button", name="Reset").is_disabled()


def test_a_threshold_on_the_way_is_written_into_the_numbers(page: Page, tmp_path: Path) -> None:
    pick(page)
    move(page, "#least", 0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()
    download.value.save_as(tmp_path / "people.json")
    numbers = json.loads((tmp_path / "people.json").read_text(encoding="utf-8"))
    assert numbers["score_threshold"] == 0
    assert len(numbers["people"]) == page.locator(".card").count() > 3


def test_emotions_are_reported_above_a_threshold(browser: Browser, demo_address: str) -> None:
    """Of a model that can report several; probabilities of the stand-in are 0.9, 0.45, 0.3, ..."""
    page = browser.new_page()

    def several(route: Any) -> None:
        route.fulfill(json={**route.fetch().json(), "multi_label": True, "score_threshold": None})

    page.route("**/api/about", several)
    people = [person(["Class 0"], 4, [0, 0, 50, 50], None), person([], 4, [60, 0, 90, 50], None)]
    page.route("**/api/people?everyone=1", lambda route: route.fulfill(json=answer_of(people)))
    page.goto(demo_address)
    page.locator("#status", has_text="found").wait_for()
    assert tags(page) == ["1 Class 0", "2"]
    assert page.locator("#above-value").inner_text() == "as stored"
    move(page, "#above", 0.25)
    assert tags(page) == ["1 Class 0 +2", "2 Class 0 +2"]
    assert page.locator(".card").nth(0).locator(".reported").count() == 3
    move(page, "#above", 0.95)
    assert tags(page) == ["1", "2"]
    page.get_by_role("button", name="Reset").click()
    assert tags(page) == ["1 Class 0", "2"]
    page.close()


def test_of_a_model_that_reports_one_emotion_no_threshold_is_asked(page: Page) -> None:
    assert not page.locator("#above").is_visible()
    assert page.locator("#least").is_visible()


@pytest.mark.parametrize("score_threshold", [None, 0.9])
def test_nobody_passes_or_nobody_is_left_out(browser: Browser, demo_address: str, score_threshold: Any) -> None:
    page = browser.new_page()

    def limited(route: Any) -> None:
        route.fulfill(json={**route.fetch().json(), "score_threshold": score_threshold})

    page.route("**/api/about", limited)
    people = [{**person(["Class 0"], 2, [0, 0, 50, 50], None), "score": -3.0}]
    page.route("**/api/people?everyone=1", lambda route: route.fulfill(json=answer_of(people)))
    page.goto(demo_address)
    page.locator("#status", has_text="found").wait_for()
    assert page.locator(".box").count() == (1 if score_threshold is None else 0)
    page.close()
