"""Files that are there whole or not at all: what may be in their place, and what errors say."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from dsct.complete_files import replaced_when_complete


def write(path: Path, content: str = "whole") -> None:
    with replaced_when_complete(path) as partial:
        partial.write_text(content)


def test_an_error_about_another_file_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replaced_when_complete(tmp_path / "a.txt"):
        (tmp_path / "source.txt").read_text()
    assert caught.value.filename == str(tmp_path / "source.txt")
    assert not list(tmp_path.iterdir())


def test_an_error_without_a_number_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match=r"/a\.txt cannot be written: encoder error -2$"), replaced_when_complete(path):
        raise OSError("encoder error -2")
    assert not list(tmp_path.iterdir())


def test_an_error_about_the_temporary_file_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(PermissionError) as caught, replaced_when_complete(tmp_path / "a.txt") as partial:
        raise OSError(errno.EACCES, "Permission denied", str(partial))
    assert str(caught.value) == f"[Errno 13] Permission denied: '{tmp_path / 'a.txt'}'"


def test_a_folder_is_noticed_before_anything_is_computed(tmp_path: Path) -> None:
    begun = False
    with pytest.raises(IsADirectoryError, match=tmp_path.name), replaced_when_complete(tmp_path):
        begun = True
    assert not begun


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("file")
    with pytest.raises(FileExistsError, match=r"its folder cannot be created: File exists: '.*/a/b\.txt'"):
        write(tmp_path / "a" / "b.txt")


@pytest.mark.parametrize("name", ["a" * 255, "\N{EURO SIGN}" * 85, "\udcff" * 255])
def test_names_as_long_as_can_be(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "whole"


def test_what_is_left_of_a_long_name_is_swept(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    with replaced_when_complete(path) as partial:
        partial.write_text("whole")
    left = partial.with_name(partial.name.replace(str(os.getpid()), "1"))
    left.write_text("half")
    os.utime(left, (0, 0))
    write(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays(exists: bool, tmp_path: Path) -> None:
    link, real = tmp_path / "link.txt", tmp_path / "elsewhere" / "real.txt"
    real.parent.mkdir()
    if exists:
        real.write_text("old")
    link.symlink_to(Path("elsewhere", "real.txt"))
    write(link)
    assert link.is_symlink()
    assert real.read_text() == "whole"
    assert os.listdir(real.parent) == ["real.txt"]


def test_a_pipe_takes_the_whole_content(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write(pipe, "a" * 200_000)
    reader.join()
    assert found == ["a" * 200_000]
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
