"""What every test starts from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch

from cuda_host.library import Compiler

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from starlette.testclient import TestClient

collect_ignore = ["bench"]
"""Benchmarks are programs of their own; `test_bench.py` tests what of them is no measurement."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run, whatever the order of the tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """g++ for the CUDA kernels on the CPU; what it made once is there for every test."""
    return Compiler(tmp_path_factory.mktemp("cuda_host"))


@pytest.fixture(scope="module")
def demo_client() -> Iterator[TestClient]:
    """A program that uses ``dsct demo`` with the weights that come with dsct."""
    from demo_client import open_client

    with open_client() as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium; of one module only, because while it is open no other event loop can run in this thread."""
    from demo_browser import missing, open_browser

    if reason := missing():
        if os.environ.get("DSCT_REQUIRE_BROWSER") == "1":
            pytest.fail(f"DSCT_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def demo_address() -> Iterator[str]:
    """The address of a running ``dsct demo``."""
    from demo_browser import running_demo

    with running_demo() as address:
        yield address


@pytest.fixture
def page(browser: Browser, demo_address: str) -> Iterator[Page]:
    """The page of the demonstration, opened anew; see `demo_browser.open_page` for what must hold afterwards."""
    from demo_browser import open_page

    with open_page(browser, demo_address) as page:
        yield page
