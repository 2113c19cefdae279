"""What every test starts from."""

from __future__ import annotations

import pytest
import torch

from cuda_host.library import Compiler

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
