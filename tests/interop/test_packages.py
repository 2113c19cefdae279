"""Published packages whose attention is exchanged, with models of random weights."""

from __future__ import annotations

import os

import pytest

from tests.interop.table import FOLDER, PACKAGES, measured_apart

MODULES = {"rfdetr": 2, "ultralytics": 6, "onedl-mmcv": 1}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_published_package(package: str) -> None:
    if not FOLDER.is_dir():
        missing = f"{package} is missing, which `make test-python` installs"
        if os.environ.get("DSCT_REQUIRE_PEERS"):
            pytest.fail(missing)
        pytest.skip(missing)
    row = measured_apart(package)
    assert row["package"].startswith(package)
    assert row["exchanged"] == MODULES[package]
    assert row["difference"] < 1e-4
