"""A video that cannot be written: nothing is left of it, and the error names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from dsct.prediction.video import VideoWriter, frames
from tests.cli.outputs.bad_places import full_disk
from tests.prediction.drawn_video import drawn


@pytest.mark.parametrize("room", [0, 100, 30_000])
def test_a_full_disk(room: int, tmp_path: Path) -> None:
    """At its beginning, at its end, or in its middle."""
    path = tmp_path / "a.mp4"
    path.write_text("old")
    images = drawn(60, (320, 240))
    with full_disk(room), pytest.raises(OSError, match=r"File too large: '.*/a\.mp4'"), VideoWriter(path) as writer:  # noqa: PT012
        for number, image in enumerate(images):
            writer.write(number / 10, image)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_images_that_the_encoder_refuses(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"/a\.mp4 cannot be written: "), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(0.0, Image.new("RGB", (20_000, 16)))
    assert not list(tmp_path.iterdir())


def test_a_video_takes_its_place_when_it_is_finished(tmp_path: Path) -> None:
    """Until then the older file is there, also when the user stops."""
    path = tmp_path / "a.mp4"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path) as writer:  # noqa: PT012
        writer.write(0.0, Image.new("RGB", (64, 48)))
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert len(list(frames(path))) == 1
    assert list(tmp_path.iterdir()) == [path]
