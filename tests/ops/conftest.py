"""What the tests of the CUDA kernels share."""

from __future__ import annotations

import pytest

from tests.cuda_host.library import Compiler


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """g++ for the CUDA kernels on the CPU; what it made once is there for every test."""
    return Compiler(tmp_path_factory.mktemp("cuda_host"))
