"""What the tests of the operators without the extension share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.any_torch.without_extension import make_package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package without its extension."""
    return make_package(tmp_path_factory.mktemp("without_extension"))
