"""What every test starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

collect_ignore = ["bench"]
"""Benchmarks are programs of their own; `project/test_bench.py` tests what of them is no measurement."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run, whatever the order of the tests."""
    torch.manual_seed(0)


@pytest.fixture
def several_threads() -> Iterator[None]:
    """Three threads for what shares its work among them, also where every test process has one."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)
