"""The page of the demonstration: a program that talks to it, and a browser that shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from starlette.testclient import TestClient

from tests.demo.browser import missing, open_browser, open_page, running_demo
from tests.demo.client import open_client


@pytest.fixture(scope="module")
def demo_client() -> Iterator[TestClient]:
    """A program that uses ``dsct demo`` with the weights that come with dsct."""
    with open_client() as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium; of one module only, because while it is open no other event loop can run in this thread."""
    if reason := missing():
        if os.environ.get("DSCT_REQUIRE_BROWSER") == "1":
            pytest.fail(f"DSCT_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def demo_address() -> Iterator[str]:
    """The address of a running ``dsct demo``."""
    with running_demo() as address:
        yield address


@pytest.fixture
def page(browser: Browser, demo_address: str) -> Iterator[Page]:
    """The page of the demonstration, opened anew; see `demo_browser.open_page` for what must hold afterwards."""
    with open_page(browser, demo_address) as page:
        yield page
