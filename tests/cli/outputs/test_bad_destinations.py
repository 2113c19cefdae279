"""A file that cannot be written is named before anything is read or computed: here, all inputs are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsct.complete_files import require_writable
from tests.cli.outputs.bad_places import read_only
from tests.cli.outputs.test_outputs import EVAL, FILES, SLOW, assert_one_sentence, each, run

COMMANDS = {
    **{name: one for name, one in (FILES | SLOW).items() if not name.startswith(("predict", "data convert"))},
    "eval thresholds": (f"{EVAL} --fit-thresholds OUT", ".safetensors"),
    "figure activations": ("figure activations missing.png --out OUT", ".png"),
}


@pytest.fixture(autouse=True)
def without_inputs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


@each(COMMANDS)
def test_a_bad_destination_is_found_first(command: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / f"folder{name}").mkdir()
    for out, why in (
        (tmp_path / f"folder{name}", "Is a directory"),
        (tmp_path / "file" / f"out{name}", "its folder cannot be created: File exists"),
        (Path("/proc/nope") / f"out{name}", "its folder cannot be created"),
    ):
        assert_one_sentence(run(command, out), why, out)
    assert {path.name for path in tmp_path.rglob("*")} == {"file", f"folder{name}"}


def test_the_folder_of_a_report_too(tmp_path: Path) -> None:
    out = tmp_path / "file"
    out.write_text("a file")
    assert_one_sentence(run(f"{EVAL} --out OUT", out), "its folder cannot be created: File exists", out)


def test_a_good_place_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "new" / "target")
    monkeypatch.chdir(tmp_path)
    for path in ("old", tmp_path / "a" / "b" / "c", "x" * 255, "link", "/dev/null"):
        require_writable(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"]
    assert (tmp_path / "old").read_text() == "old"


def test_rights_and_long_names(tmp_path: Path) -> None:
    with read_only(tmp_path):
        with pytest.raises(PermissionError, match=r"Permission denied: '.*/out'"):
            require_writable(tmp_path / "out")
        with pytest.raises(PermissionError, match=r"its folder cannot be created: Permission denied: '.*/a/b/out'"):
            require_writable(tmp_path / "a" / "b" / "out")
    for path in (tmp_path / ("x" * 256), tmp_path / "new" / ("x" * 256), tmp_path / ("x" * 256) / "out"):
        with pytest.raises(OSError, match="File name too long"):
            require_writable(path)
