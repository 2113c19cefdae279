"""The same sources are built for each supported torch: the one that is there, or the one that is asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import build_backend
import build_torch
import build_wheel
from build_torch import ROOT, SUPPORTED
from dsct import _dsct

RUNNING = torch.__version__.split("+")[0]
FOLDER = Path(torch.__file__).resolve().parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.fixture
def libtorch(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the folder of a torch that has nothing but its version."""

    def make(version: str) -> Path:
        header = tmp_path / "torch/include/torch/headeronly/version.h"
        header.parent.mkdir(parents=True, exist_ok=True)
        names = zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True)
        header.write_text("".join(f"#define TORCH_VERSION_{name} {part}\n" for name, part in names))
        return tmp_path / "torch"

    return make


def test_the_requirement_holds_for_every_supported_torch_and_no_other() -> None:
    (least, beyond) = re.findall(r'"torch>=([\d.]+),<([\d.]+)"', PYPROJECT)[0]
    as_numbers = [tuple(map(int, build_torch.minor(version).split("."))) for version in SUPPORTED]
    assert tuple(map(int, least.split("."))) == as_numbers[-1]
    assert tuple(map(int, beyond.split("."))) == (as_numbers[0][0], as_numbers[0][1] + 1)
    assert as_numbers == [(2, number) for number in range(as_numbers[0][1], as_numbers[-1][1] - 1, -1)]


def test_a_wheel_names_every_torch_under_which_it_loads() -> None:
    assert [build_torch.requirement(version) for version in SUPPORTED] == [
        *3 * ["torch>=2.13,<2.16"], "torch>=2.12,<2.13", "torch>=2.11,<2.12",
    ]  # fmt: skip
    assert [build_torch.label(version) for version in SUPPORTED] == [*3 * ["torch2.13to2.15"], "torch2.12", "torch2.11"]


def test_make_and_ci_take_the_newest_that_this_python_can_install() -> None:
    default = re.findall(r"^TORCH \?= (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert default == ["$(shell $(PYTHON) build_torch.py)"]
    command = [sys.executable, str(ROOT / "build_torch.py")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == build_torch.newest()
    assert build_torch.newest((3, 10)) == "2.14.1"
    assert {build_torch.newest((3, minor)) for minor in (11, 12, 13, 14)} == {SUPPORTED[0]}


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_sources_name_the_chosen_torch_and_nothing_else_changes(tmp_path: Path, version: str) -> None:
    build_torch.copy_sources(version, tmp_path / "sources")
    changed = {}
    for path in (tmp_path / "sources").rglob("*"):
        if path.is_file():
            original = (ROOT / path.relative_to(tmp_path / "sources")).read_bytes()
            lines = [line.decode() for line in set(path.read_bytes().splitlines()) - set(original.splitlines())]
            changed[path.name] = [line.strip(" ,") for line in lines]
    assert {name for name, lines in changed.items() if lines} == {"pyproject.toml", "Cargo.toml"}
    assert changed["pyproject.toml"] == [f'"{build_torch.requirement(version)}"']
    assert re.fullmatch(rf'version = "[\d.]+\+{build_torch.label(version)}"', changed["Cargo.toml"][0])
    assert (tmp_path / "sources/.cargo/config.toml").is_file()


def test_a_torch_has_a_short_and_a_long_name() -> None:
    for version in SUPPORTED:
        assert build_torch.find(version) == build_torch.find(version.rpartition(".")[0]) == version


@pytest.mark.parametrize("version", ["1.13", "2.1", "torch2.11", ""])
def test_an_unsupported_torch_is_refused_with_those_there_are(version: str) -> None:
    sentence = rf"^TORCH must be one of 2\.15, 2\.14, 2\.13, 2\.12, 2\.11, got '{version}'\.$"
    with pytest.raises(SystemExit, match=sentence):
        build_torch.find(version)


def test_the_version_is_read_without_loading(libtorch: Callable[[str], Path], tmp_path: Path) -> None:
    assert build_torch.version_of(FOLDER) == RUNNING
    assert build_torch.version_of(libtorch("2.12.7")) == "2.12.7"
    with pytest.raises(SystemExit, match=r"^dsct is built for torch 2\.15, .*, 2\.11, but .* is torch 1\.13\.1\.$"):
        build_torch.version_of(libtorch("1.13.1"))
    with pytest.raises(SystemExit, match=r"^LIBTORCH must be the folder of a torch with its headers, got .*empty: no "):
        build_torch.version_of(tmp_path / "empty")


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("readelf"), reason="reads an ELF file")
def test_the_extension_needs_nothing_that_a_torch_without_cuda_lacks() -> None:
    table = subprocess.run(["readelf", "-d", _dsct.__file__], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[lib(torch\w*|c10\w*|cu\w*|nv\w*)\.so", table))
    assert {"torch_cpu", "c10"} <= needed <= {"torch_cpu", "c10", "torch", "torch_python"}


def test_a_torch_that_is_installed_is_found_and_not_fetched(tmp_path: Path) -> None:
    assert build_torch.installed() == FOLDER
    assert build_wheel.find_libtorch(RUNNING, tmp_path) == FOLDER


def test_a_torch_that_is_not_installed_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def pip(*arguments: Any) -> None:
        (arguments[arguments.index("--target") + 1] / "torch").mkdir(parents=True)
        fetched.append(arguments[-1])

    monkeypatch.setattr(build_wheel, "pip", pip)
    for _ in range(2):
        assert build_wheel.find_libtorch("0.4.1", tmp_path / "libtorch") == tmp_path / "libtorch" / "torch"
        assert (tmp_path / "libtorch" / "torch").is_dir()
    assert fetched == ["torch==0.4.1"]


def test_a_build_asks_for_torch_only_where_there_is_none(
    libtorch: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIBTORCH", raising=False)
    hooks = (build_backend.get_requires_for_build_wheel, build_backend.get_requires_for_build_editable)
    monkeypatch.setattr(build_backend, "installed", lambda *options: libtorch("2.13.0"))
    assert not any("torch" in each for hook in hooks for each in hook())
    monkeypatch.setattr(build_backend, "installed", lambda *options: None)
    assert all(f"torch=={build_torch.newest()}" in hook() for hook in hooks)
    sentence = rf"^a build of dsct needs torch: run `pip install torch=={build_torch.newest()}`"
    with pytest.raises(SystemExit, match=sentence):
        build_backend.build_editable("nowhere")


def test_a_torch_beyond_the_supported_is_not_taken(
    libtorch: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_torch, "_PROBE", f"print({str(libtorch('1.13.1'))!r})")
    assert build_torch.installed() is None
    assert "Not taken: dsct is built for torch 2.15" in capsys.readouterr().err
