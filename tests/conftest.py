"""What every test starts from."""

from __future__ import annotations

import pytest
import torch

collect_ignore = ["bench"]
"""Benchmarks are programs of their own; `project/test_bench.py` tests what of them is no measurement."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run, whatever the order of the tests."""
    torch.manual_seed(0)
