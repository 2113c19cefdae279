"""A Chromium without a window that opens the demonstration page, and what a person does there.

    python -m tests.demo.browser docs/demo.png    # takes the screenshot of the documentation

Tests with it are skipped where there is no Chromium or playwright; ``DSCT_REQUIRE_BROWSER=1`` makes that a failure.
``DSCT_CHROMIUM`` names a Chromium that is not on the path. Nothing is downloaded.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn
from PIL import Image

import dsct
from dsct.cli.demo import SHIPPED_NAME
from dsct.demo import create_app
from dsct.demo.launch import listen
from dsct.demo.scenes import NUMBER_OF_SCENES
from dsct.prediction.shipped_weights import SHIPPED_NOTE, SHIPPED_WEIGHTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

SCENE = 4  # three people at the beach
# A green image that a ball crosses, which the page may use without asking.
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def missing() -> str | None:
    """What the tests in a browser lack, or None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None if chromium() else f"there is no Chromium: none of {', '.join(NAMES)} is on the path"


def chromium() -> str | None:
    return os.environ.get("DSCT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *FAKE_CAMERA])
        yield browser
        browser.close()


@contextmanager
def running_demo() -> Iterator[str]:
    """Serves the page with the weights that come with dsct, and gives its address."""
    app = create_app(dsct.load_model(SHIPPED_WEIGHTS), name=SHIPPED_NAME, note=SHIPPED_NOTE)
    with listen(0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=30)


@contextmanager
def open_page(browser: Browser, address: str) -> Iterator[Page]:
    """The page; afterwards nothing may have gone wrong in it, and nothing may have been asked of another computer."""
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page.set_default_timeout(20_000)
    problems: list[str] = []
    requests: list[str] = []

    def record(message: ConsoleMessage) -> None:
        refused = message.text.startswith("Failed to load resource") and message.location["url"].endswith(
            "/api/people?everyone=1"
        )
        if message.type in ("error", "warning") and not refused:
            problems.append(message.text)

    page.on("console", record)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.locator("#scenes button").nth(NUMBER_OF_SCENES - 1).wait_for()
    page.locator("#status", has_text="found").wait_for()  # of the first scene, which is shown at once
    yield page
    page.close()
    assert problems == []
    asked = {urlsplit(url).netloc for url in requests if not url.startswith(("data:", "blob:"))}
    assert asked == {urlsplit(address).netloc}


def pick(page: Page, scene: int = SCENE) -> None:
    page.locator("#scenes button").nth(scene).click()
    page.locator("#status", has_text="found").wait_for()


def upload(page: Page, name: str, content: bytes) -> None:
    page.set_input_files("#file", files=[{"name": name, "mimeType": "image/png", "buffer": content}])


def marks(page: Page, kind: str) -> int:
    return page.locator(f"#looked-at .mark.{kind}").count()


def active(page: Page, kind: str) -> list[int]:
    """Numbers of the boxes or cards that are lit up."""
    classes = page.locator(kind).evaluate_all("all => all.map(one => one.classList.contains('active'))")
    return [number for number, lit in enumerate(classes) if lit]


def take_screenshot(path: Path) -> None:
    """A scene with one of its people pointed at, as a PNG."""
    with running_demo() as address, open_browser() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
        page.goto(address)
        pick(page)
        page.locator(".box").nth(1).hover()
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    shot.convert("RGB").quantize(256, kmeans=1).save(path, optimize=True)


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    take_screenshot(Path(sys.argv[1]))
