"""What every test starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

collect_ignore = ["bench"]
"""Benchmarks are programs of their own; `project/test_bench.py` tests what of them is no measurement."""

THREADED = ("ops", "criterion", "metrics")
"""Folders whose code shares its work among threads."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run, whatever the order of the tests."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Several threads for the tests of what shares its work among them, also where every test process has one."""
    before = torch.get_num_threads()
    if request.path.parent.name in THREADED:
        torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)
