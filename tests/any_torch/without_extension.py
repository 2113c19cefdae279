"""A package without its extension, and processes that import it: what is left where the extension does not fit torch.

As a plugin, ``pytest -p tests.any_torch.without_extension``, it runs the tests of the operators and of the exchange of
attention there. Some of these build a model, which they import by name: they are skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ("DSCT", "DSCTConfig", "MSDeformAttn")


def make_package(folder: Path) -> Path:
    """A copy of the package in `folder`, of links, which has all but the extension; what to import it from."""
    package = folder / "dsct"
    package.mkdir()
    for path in (ROOT / "python/dsct").iterdir():
        if not path.name.startswith(("_dsct.", "__pycache__")) or path.suffix == ".pyi":
            (package / path.name).symlink_to(path)
    return folder


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with `arguments` in a process of its own that finds that package."""
    paths = os.pathsep.join(map(str, [package, ROOT, *filter(None, sys.path)]))
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


class Skips:
    """What a name of the model stands for: nothing can be made of it."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        pytest.skip("builds a model")


def pytest_configure() -> None:
    """Gives the names of the model a meaning, before tests import them."""
    import dsct
    import dsct.modules

    assert "dsct._dsct" not in sys.modules
    config: Any = ModuleType("dsct.config")
    sys.modules[config.__name__] = config
    for owner in (dsct, dsct.modules, config):
        for name in MODEL:
            setattr(owner, name, Skips)
