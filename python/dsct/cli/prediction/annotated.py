"""The images and videos that ``dsct predict --annotate`` writes."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from PIL import Image

from dsct.cli.prediction.writers import Result
from dsct.prediction.annotate import annotate
from dsct.prediction.video import VideoWriter
from dsct.visualize.drawing.saving import save_figure


class AnnotatedFiles:
    """Draws people onto images and videos, in files of a folder, numbered because two inputs may have the same name.

    With the number, a name may be longer than the file system takes; it is then cut.

    Args:
        folder: where to write; created if missing.
        count: number of inputs, which determines the number of digits.
    """

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._digits = folder, max(len(str(count)), 3)
        self._most_bytes = os.pathconf(folder, "PC_NAME_MAX") - len(".png")
        self._number = 0
        self._source: Path | None = None
        self._video: VideoWriter | None = None

    def write(self, result: Result) -> None:
        """Writes an image, or the next frame of a video."""
        if result.path != self._source:
            self._close_video()
            self._source, self._number = result.path, self._number + 1
        name = _shortened(f"{self._number:0{self._digits}d}_{result.path.stem}", self._most_bytes)
        if result.time is None:
            save_figure(result.people.plot(), self._folder / f"{name}.png")
            return
        if self._video is None:
            self._video = VideoWriter(self._folder / f"{name}.mp4")
        assert isinstance(result.people.source, Image.Image)
        self._video.write(result.time, annotate(result.people.source, result.people))

    def __enter__(self) -> AnnotatedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close_video()

    def _close_video(self) -> None:
        if self._video is not None:
            video, self._video = self._video, None
            video.close()


def _shortened(name: str, most_bytes: int) -> str:
    while len(os.fsencode(name)) > most_bytes:
        name = name[:-1]
    return name
