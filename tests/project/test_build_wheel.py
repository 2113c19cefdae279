"""`make wheel` builds the same sources for each supported torch, with its pins."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import build_backend
import build_wheel
from build_wheel import ROOT, SUPPORTED
from dsct import _dsct


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


def tch_of_the_lock(folder: Path) -> list[str]:
    return re.findall(r'name = "(?:tch|torch-sys)"\nversion = "(.*)"', read(folder, "Cargo.lock"))


def test_the_tree_is_pinned_to_the_first_supported_torch() -> None:
    default = SUPPORTED[0]
    assert [f"torch=={default.torch}", f"torchvision=={default.torchvision}"] == build_backend.TORCH_PINS
    assert tch_of_the_lock(ROOT) == [default.tch, default.tch]


@pytest.mark.parametrize("chosen", SUPPORTED, ids=lambda chosen: chosen.label)
def test_the_sources_get_the_pins_of_the_chosen_torch_and_nothing_else(
    tmp_path: Path, chosen: build_wheel.Torch
) -> None:
    build_wheel.copy_sources(chosen, tmp_path / "sources")
    changed = {}
    for path in (tmp_path / "sources").rglob("*"):
        if path.is_file():
            original = (ROOT / path.relative_to(tmp_path / "sources")).read_bytes()
            lines = [line.decode() for line in set(path.read_bytes().splitlines()) - set(original.splitlines())]
            changed[path.name] = {line.strip(" ,") for line in lines}
    assert {name for name, lines in changed.items() if lines} <= {"pyproject.toml", "Cargo.toml"}
    default = SUPPORTED[0]
    pins = {f'"torch=={chosen.torch}"', f'"torchvision=={chosen.torchvision}"'}
    assert changed["pyproject.toml"] == (set() if chosen == default else pins)
    version, tch, torch_sys = sorted(changed["Cargo.toml"], key=len)
    assert re.fullmatch(rf'version = "[\d.]+\+{chosen.label}"', version)
    assert tch.startswith(f'tch = {{ version = "={chosen.tch}"')
    assert torch_sys.startswith(f'torch-sys = {{ version = "={chosen.tch}"')


def test_a_torch_has_a_short_and_a_long_name() -> None:
    for chosen in SUPPORTED:
        assert build_wheel.find(chosen.torch) is chosen
        assert build_wheel.find(chosen.label.removeprefix("torch")) is chosen


@pytest.mark.parametrize("version", ["1.13", "2.1", "torch2.11", ""])
def test_an_unsupported_torch_is_refused_with_those_there_are(version: str) -> None:
    with pytest.raises(SystemExit, match=rf"^TORCH must be one of 2\.13\.0, 2\.11\.0, got '{version}'\.$"):
        build_wheel.find(version)


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("readelf"), reason="reads an ELF file")
def test_the_extension_needs_nothing_that_a_torch_without_cuda_lacks() -> None:
    table = subprocess.run(["readelf", "-d", _dsct.__file__], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[lib(torch\w*|c10\w*|cu\w*|nv\w*)\.so", table))
    assert {"torch_cpu", "c10"} <= needed <= {"torch_cpu", "c10", "torch", "torch_python"}


def test_a_torch_that_is_installed_is_not_fetched(tmp_path: Path) -> None:
    installed = build_wheel.Torch(torch.__version__.split("+")[0], torchvision="", tch="")
    found = build_wheel.find_libtorch(installed, tmp_path)
    assert found == Path(torch.__file__).resolve().parent
    assert (found / "include").is_dir()


def test_a_torch_that_is_not_installed_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def pip(*arguments: Any) -> None:
        (arguments[arguments.index("--target") + 1] / "torch").mkdir(parents=True)
        fetched.append(arguments[-1])

    monkeypatch.setattr(build_wheel, "pip", pip)
    other = build_wheel.Torch("0.4.1", torchvision="0.2.1", tch="")
    for _ in range(2):
        assert build_wheel.find_libtorch(other, tmp_path / "libtorch") == tmp_path / "libtorch" / "torch"
        assert (tmp_path / "libtorch" / "torch").is_dir()
    assert fetched == ["torch==0.4.1"]
