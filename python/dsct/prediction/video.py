"""Video files: reading and writing frames. Needs PyAV, the extra ``video``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dsct.complete_files import make_folder_of
from dsct.data.image_formats import still_format_of

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_TICK = Fraction(1, 60_000)  # seconds; usual frame rates are whole ticks, and MPEG-4 knows none below 1/65535
_STILL = re.compile(r"(\w+)_pipe|image2")  # FFmpeg's names of formats for images
_LONGEST_PIXEL = 16
_BT_709, _LIMITED_RANGE = 1, 1  # as numbered in H.273


def frames(
    path: str | os.PathLike[str], *, every: int = 1, start: float | None = None, stop: float | None = None
) -> Iterator[tuple[float, Image.Image]]:
    """Reads the frames of a video one after the other, turned and mirrored as a player shows them.

    Pixels that are not square (anamorphic video) are stretched or squeezed in width until they are. Audio and cover
    images are ignored.

    Args:
        path: the video file.
        every: 1 yields each frame, 2 every second one, and so on, from the first.
        start: seconds from the beginning; earlier frames are decoded, but not returned.
        stop: seconds from the beginning; this frame and later ones are not returned.

    Returns:
        An iterator of (time in seconds from the beginning, RGB image). It holds the file open until it ends.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: `every` is below 1, or `stop` is not later than `start`.
        FileNotFoundError: while iterating, there is no such file.
        OSError: while iterating, the file is not a video, is damaged, or its stream ends more than a second before the
            time its header announces. What was read before has been yielded. Matroska announces nothing.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "grey.mp4"
        >>> with VideoWriter(file) as writer:
        ...     for number in range(10):
        ...         writer.write(number / 5, Image.new("RGB", (64, 48), "grey"))
        >>> [(time, image.size) for time, image in frames(file, every=4)]
        [(0.0, (64, 48)), (0.8, (64, 48)), (1.6, (64, 48))]
    """
    if every < 1:
        raise ValueError(f"frames: every must be at least 1, got {every}")
    begin = 0.0 if start is None else start
    if not begin >= 0:
        raise ValueError(f"frames: start must not be negative, got {start}")
    if stop is not None and not stop > begin:
        raise ValueError(f"frames: stop must be later than start, got {stop} and {begin}")
    _pyav()
    return _frames(Path(path), every, begin, stop)


def count_frames(path: str | os.PathLike[str], every: int = 1) -> int | None:
    """About how many images `frames` yields, from the header of the file; None if that does not say.

    Args:
        path: as in `frames`.
        every: as in `frames`.

    Raises:
        ImportError: PyAV is not installed.
        OSError: the file is missing or is not a video.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "grey.mp4"
        >>> with VideoWriter(file) as writer:
        ...     for number in range(10):
        ...         writer.write(number / 5, Image.new("RGB", (64, 48), "grey"))
        >>> count_frames(file, every=4)
        3
    """
    _pyav()
    with _opened(Path(path)) as (container, stream):
        # An edit list leaves out frames that are in the file; older PyAV does not tell which.
        count = stream.frames - sum(entry.is_discard for entry in getattr(stream, "index_entries", ()))
        if not count and container.duration and stream.average_rate:
            count = round(container.duration / 1_000_000 * stream.average_rate)
    return -(-count // every) or None


class VideoWriter:
    """Writes images as H.264 video in an MP4 file, for a ``with`` block; however it ends, the video can be played.

    Colours are stored as 4:2:0, so a side of odd length gets one more row or column, a copy of the last. Images of
    another size than the first are resized to that. There is no audio. The file is written beside its place, to which
    it moves when it is finished; after an error of the disk nothing is left of it.

    Args:
        path: the file to write, ending in .mp4; missing folders are created.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: `path` does not end in .mp4.
        OSError: while writing, the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "red.mp4"
        >>> with VideoWriter(file) as writer:
        ...     writer.write(0.0, Image.new("RGB", (63, 48), "red"))
        ...     writer.write(0.5, Image.new("RGB", (63, 48), "red"))
        >>> [(time, image.size) for time, image in frames(file)]
        [(0.0, (64, 48)), (0.5, (64, 48))]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"VideoWriter: path must end in .mp4, got {str(path)!r}")
        self._av = _pyav()
        self._container: OutputContainer | None = None
        self._last = -1  # the latest image's time, in ticks
        self._partial = self.path.with_name(f".{os.getpid()}-{id(self):x}.partial")  # short, as names may be long

    def write(self, time: float, image: Image.Image) -> None:
        """Adds an image, shown from `time`, in seconds, to the time of the next; the first is shown at once."""
        container = self._container or self._open(time, image)
        if image.size != self._size:
            image = image.resize(self._size)
        pixels = np.asarray(image.convert("RGB"))
        height, width = pixels.shape[:2]
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even))
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        ticks = max(round((time - self._first) / _TICK), self._last + 1)
        # How long to show the last image is unknown: as long as the previous one, or a second if there is none.
        duration = ticks - self._last if self._last >= 0 else round(1 / _TICK)
        frame.pts, frame.duration, frame.time_base = ticks, duration, _TICK
        self._last = ticks
        with self._nothing_left():
            container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finishes the file, as the end of a ``with`` block does."""
        if self._container is not None:
            with self._nothing_left():
                self._container.mux(self._stream.encode(None))
                self._container.close()
                self._container = None
                self._partial.replace(self.path)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, time: float, image: Image.Image) -> OutputContainer:
        from av.codec.context import Flags

        make_folder_of(self.path)
        self._size, self._first = image.size, time
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        with self._nothing_left():
            container: OutputContainer = self._av.open(os.fspath(self._partial), "w", format="mp4")
            stream: VideoStream = container.add_stream(codec)  # type: ignore[assignment]
            self._container, self._stream = container, stream
            stream.width, stream.height = (side + side % 2 for side in image.size)
            stream.pix_fmt = "yuv420p"
            # Players guess the meaning of untagged colours from the size, and differ.
            stream.colorspace = stream.color_primaries = stream.color_trc = _BT_709
            stream.color_range = _LIMITED_RANGE
            stream.codec_context.time_base = _TICK
            stream.codec_context.flags |= Flags.frame_duration
        return container

    @contextmanager
    def _nothing_left(self) -> Iterator[None]:
        """After an error of the disk or the encoder nothing is left of the file; the error names it."""
        try:
            yield
        except (OSError, self._av.FFmpegError) as error:
            container, self._container = self._container, None
            with suppress(OSError, self._av.FFmpegError):
                self._partial.unlink(missing_ok=True)
                if container is not None:
                    container.close()
            if isinstance(error, OSError) and error.errno is not None:
                raise OSError(error.errno, os.strerror(error.errno), str(self.path)) from error
            raise OSError(f"{self.path} cannot be written: {error.strerror}") from error


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError("video needs PyAV: pip install 'dsct[video]'") from error
    return av


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its first stream of moving images; PyAV's errors inside the block become OSErrors."""
    import av
    from av.stream import Disposition

    if not path.exists():
        raise FileNotFoundError(f"no video file at {path}")
    try:
        with av.open(os.fspath(path)) as container:
            # Cover images of music are streams too, and FFmpeg draws plain text as a terminal would.
            streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not streams or container.format.name == "tty":
                raise OSError(f"{path} contains no video")
            # FFmpeg reads still images as videos of one frame, of some only a part.
            still = still_format_of(path) or _STILL.fullmatch(container.format.name)
            if still:
                what = still if isinstance(still, str) else (still[1] or "of a format").replace("_", "")
                raise OSError(f"{path} is a still image ({what}), not a video")
            yield container, streams[0]
    except av.FFmpegError as error:
        raise OSError(f"{path} is not a video, or damaged: {error.strerror}") from error


def _frames(path: Path, every: int, start: float, stop: float | None) -> Iterator[tuple[float, Image.Image]]:
    from av.error import InvalidDataError

    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        tick, shape = stream.time_base or Fraction(1), _pixel_shape(stream, path)
        origin = stream.start_time or 0
        decoded, kept, end = 0, 0, origin
        for packet in container.demux(stream):
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
            try:
                decoded_frames = packet.decode()
            except InvalidDataError:
                # The last packet, of size 0, asks for the rest: there PyAV 17 reports that the file is cut off.
                if packet.size or not _ends_early(stream, end):
                    raise
                break
            for frame in decoded_frames:
                # Streams without a container have no times.
                ticks = frame.pts - origin if frame.pts is not None else decoded / (stream.guessed_rate or 25) / tick
                decoded, time = decoded + 1, float(ticks * tick)
                if time < start:
                    continue
                if stop is not None and time >= stop:
                    return
                if kept % every == 0:
                    yield time, _upright(frame, shape)
                kept += 1
        if _ends_early(stream, end):
            whole = float((stream.duration or 0) * tick)
            raise OSError(f"{path} ends after {float((end - origin) * tick):.1f} of {whole:.1f} s")


def _ends_early(stream: VideoStream, end: int) -> bool:
    """Whether more than a second is missing behind `end`, in the stream's own unit of time."""
    missing = (stream.start_time or 0) + (stream.duration or 0) - end
    return missing * (stream.time_base or Fraction(1)) > 1


def _pixel_shape(stream: VideoStream, path: Path) -> Fraction:
    """Width of a pixel divided by its height, 1 where the file does not say."""
    shape = Fraction(stream.sample_aspect_ratio or 1)
    if not 1 / _LONGEST_PIXEL <= shape <= _LONGEST_PIXEL:
        raise OSError(f"{path} is damaged: its pixels would be {shape} times as wide as high")
    return shape


def _upright(frame: VideoFrame, shape: Fraction) -> Image.Image:
    """The image of square pixels as its display matrix wants it, by quarter turns and mirrors.

    The matrix means x' = a x + c y, y' = b x + d y.
    """
    width = frame.width if shape == 1 else max(round(frame.width * shape), 1)
    pixels = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
        if abs(a) < abs(b):
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return Image.fromarray(np.ascontiguousarray(pixels))
