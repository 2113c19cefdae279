"""A Chromium without a window that opens the demonstration page.

python -m tests.demo_browser docs/demo.png    # takes the picture of the README
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

import uvicorn
from PIL import Image

import dsct
from dsct.demo import create_app
from dsct.demo.launch import listen
from dsct.predict import SHIPPED_NOTE, SHIPPED_WEIGHTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def missing() -> str | None:
    """What the tests in a browser lack, or None. ``DSCT_CHROMIUM`` names a Chromium that is not on the path."""
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
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def running_demo() -> Iterator[str]:
    """Serves the page with the weights that come with dsct, and gives its address."""
    app = create_app(dsct.load_model(SHIPPED_WEIGHTS), name="the small weights that come with dsct", note=SHIPPED_NOTE)
    with listen(0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=30)


def take_picture(path: Path) -> None:
    """A scene with one of its people pointed at, as a PNG."""
    with running_demo() as address, open_browser() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
        page.goto(address)
        page.locator("#scenes button").nth(4).click()
        page.locator(".box").nth(1).hover()
        page.locator(".mark.sampling").first.wait_for()
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    shot.convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    take_picture(Path(sys.argv[1]))
