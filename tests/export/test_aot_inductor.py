"""The compiled package equals the model, and the next build of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from dsct.export import to_aot_inductor
from dsct.export.aot_inductor import _write_reproducibly
from tests.comparison import assert_same, padded_images
from tests.export.models import SIZES, model_of, of_last_layer

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_compiled_package_equals_the_model(tmp_path: Path) -> None:
    model, file = model_of(), tmp_path / "model.pt2"
    to_aot_inductor(model, file)
    compiled: Any = torch._inductor.aoti_load_package(str(file))
    for size in SIZES:
        inputs = padded_images(*size, dtype=torch.float32)
        assert_same(compiled(*inputs), of_last_layer(model, *inputs), 1e-4)
    assert json.loads(compiled.get_metadata()["dsct_class_names"]) == list(model.config.names)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    names = zipfile.ZipFile(file).namelist()
    assert {name.partition("/")[0] for name in names} == {"model"}
    assert not [name for name in names if name.endswith(".cpp")]


#: The smallest model: no context queries, one layer each, one level, one size.
BUILD = """
import sys
from dsct.export import to_aot_inductor
from tests.export.models import model_of
model = model_of(num_context_queries=0, selection=(), dec_layers=1, num_feature_levels=1)
to_aot_inductor(model, sys.argv[1], mask=False, size=(1, 64, 64))
"""


@pytest.mark.slow
def test_two_builds_have_equal_bytes(tmp_path: Path) -> None:
    """In two processes, each of which finds the same folder of Inductor's cache empty."""
    cache, files = tmp_path / "cache", [tmp_path / "first.pt2", tmp_path / "second.pt2"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    for file in files:
        shutil.rmtree(cache, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-c", BUILD, file],
            env={**os.environ, "PYTHONPATH": paths, "TORCHINDUCTOR_CACHE_DIR": str(cache)},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert any(cache.rglob("*.so")), "compiled here, not taken from elsewhere"
    assert files[0].read_bytes() == files[1].read_bytes()


def package(folder: str, number: str, machine_code: bytes = b"code") -> dict[str, bytes]:
    """Members of what Inductor writes; the folder has the name of a file, the number is random."""
    members = {
        "data/aotinductor/model/abc.wrapper.so": machine_code,
        "data/aotinductor/model/abc.wrapper.cpp": f"// g++ {folder}".encode(),
        "byteorder": b"little",
        ".data/serialization_id": number.encode(),
    }
    return {f"{folder}/{name}": content for name, content in members.items()}


def rewritten(members: dict[str, bytes], folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    _write_reproducibly(memory, folder / "out.pt2")
    return (folder / "out.pt2").read_bytes()


def test_what_differs_between_packages_by_chance_is_replaced(tmp_path: Path) -> None:
    first = rewritten(package(".a.pt2.17.partial", "1" * 40), tmp_path)
    members = package(".b.pt2.4711.partial", "2" * 40)
    assert rewritten(dict(reversed(members.items())), tmp_path) == first
    assert rewritten(package(".a.pt2.17.partial", "1" * 40, b"other code"), tmp_path) != first
    with zipfile.ZipFile(tmp_path / "out.pt2") as archive:
        assert archive.read("model/data/aotinductor/model/abc.wrapper.so") == b"other code"
        number = archive.read("model/.data/serialization_id").decode()
    assert len(number) == 40
    assert number.isdecimal()
