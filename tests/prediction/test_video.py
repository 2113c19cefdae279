"""Videos: every frame at its time, as a player shows it; what cannot be read is said; what is written plays."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import dsct
from dsct.prediction.annotate import annotate
from dsct.prediction.people import People
from dsct.prediction.predictor import predict_frames
from dsct.prediction.video import VideoWriter, count_frames, frames
from tests.prediction.drawn_video import drawn, encode, encode_sound

video_module = sys.modules["dsct.prediction.video"]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean over pixels and colours, of 255."""
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


def write(path: Path, images: Iterable[Image.Image], rate: float | Fraction = 10) -> Path:
    with VideoWriter(path) as writer:
        for number, image in enumerate(images):
            writer.write(float(number / rate), image)
    return path


def marked(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """White but for a red bar at the upper left, so that each way to turn or mirror it looks different."""
    image = Image.new("RGB", size, "white")
    image.paste((200, 0, 0), (0, 0, 24, 8))
    return image


def test_frames_are_what_was_written_at_its_time(tmp_path: Path) -> None:
    images = drawn(6)
    found = list(frames(write(tmp_path / "a.mp4", images)))
    assert [time for time, _ in found] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    for (_, image), expected in zip(found, images, strict=True):
        assert (image.mode, image.size) == ("RGB", (128, 96))
        assert difference(image, expected) < 8
    assert difference(found[0][1], images[1]) > 20


@pytest.mark.parametrize("color", ["red", "lime", "blue", "white", "black", "#808080"])
def test_colours_survive(tmp_path: Path, color: str) -> None:
    plain = Image.new("RGB", (64, 48), color)
    ((_, image),) = frames(write(tmp_path / "a.mp4", [plain]))
    assert difference(image, plain) < 4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.mpg", {"format": "mpegts"}),
        ("a.h264", {}),
    ],
)
def test_containers_give_the_same_times(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = encode(tmp_path / name, drawn(5), **options)
    assert [time for time, _ in frames(path)] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert [time for time, _ in frames(path, start=0.15, every=2)] == pytest.approx([0.2, 0.4])


def test_every_start_and_stop_are_a_slice_of_all(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", drawn(12))
    times = [time for time, _ in frames(path)]
    for every, start, stop in [(3, None, None), (1, 0.5, None), (2, 0.3, 0.9), (1, 0.25, 0.31), (1, 5.0, None)]:
        expected = [t for t in times if t >= (start or 0) and (stop is None or t < stop)][::every]
        assert [time for time, _ in frames(path, every=every, start=start, stop=stop)] == expected


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_rotation"), reason="PyAV cannot write rotations yet")
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turned_and_mirrored_as_the_file_asks(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    expected = marked().rotate(rotation, expand=True)
    if mirrored:
        expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ((_, image),) = frames(encode(tmp_path / "a.mp4", [marked()], rotation=rotation, mirrored=mirrored))
    assert image.size == expected.size
    assert difference(image, expected) < 4


def test_odd_sizes_are_read_as_they_are(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", drawn(2, (129, 97)), pix_fmt="yuv444p")
    assert [image.size for _, image in frames(path)] == [(129, 97)] * 2


def test_odd_sizes_are_written_with_a_copy_of_the_last_row_and_column(tmp_path: Path) -> None:
    image = Image.new("RGB", (63, 47), "white")
    ((_, found),) = frames(write(tmp_path / "a.mp4", [image]))
    assert found.size == (64, 48)
    assert difference(found, Image.new("RGB", (64, 48), "white")) < 2


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_written_video_keeps_the_frame_rate(tmp_path: Path, rate: Fraction) -> None:
    path = write(tmp_path / "a.mp4", [marked()] * 30, rate)
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(float(rate), rel=1e-4)
    assert [time for time, _ in frames(path)] == pytest.approx([float(i / rate) for i in range(30)], abs=1e-4)


def test_writer_starts_at_zero_goes_forward_and_keeps_the_first_size(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.mp4"
    with VideoWriter(path) as writer:
        for time, size in [(7.0, (64, 48)), (7.5, (32, 96)), (7.5, (64, 48))]:
            writer.write(time, Image.new("RGB", size, "white"))
    found = list(frames(path))
    assert [time for time, _ in found] == pytest.approx([0.0, 0.5, 0.5], abs=1e-3)
    assert found[2][0] > found[1][0]
    assert {image.size for _, image in found} == {(64, 48)}


def test_writer_leaves_a_whole_file_when_interrupted_and_none_without_images(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Image.Image]:
        yield from [marked()] * 4
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.mp4", interrupted())
    assert len(list(frames(tmp_path / "a.mp4"))) == 4
    with VideoWriter(tmp_path / "b.mp4"):
        pass
    assert not (tmp_path / "b.mp4").exists()


def test_writes_mpeg4_where_there_is_no_h264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    path = write(tmp_path / "a.mp4", [marked()] * 3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert [time for time, _ in frames(path)] == pytest.approx([0.0, 0.1, 0.2])


def text_file(folder: Path) -> Path:
    (folder / "notes.mp4").write_text("no video at all\n" * 100)
    return folder / "notes.mp4"


def half_a_file(folder: Path) -> Path:
    content = write(folder / "a.mp4", drawn(5)).read_bytes()
    (folder / "half.mp4").write_bytes(content[: len(content) // 2])
    return folder / "half.mp4"


def empty_file(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text_file, r"notes\.mp4 (contains no video|is not a video, or damaged)"),
        (half_a_file, r"half\.mp4 is not a video, or damaged: Invalid data"),
        (empty_file, r"empty\.mp4 is not a video, or damaged"),
        (lambda folder: encode_sound(folder / "sound.wav"), r"sound\.wav contains no video"),
        (lambda folder: folder, "is not a video, or damaged: Is a directory"),
        (lambda folder: folder / "absent.mp4", r"no video file at .*absent\.mp4"),
    ],
    ids=["text", "half", "empty", "sound", "folder", "absent"],
)
def test_what_is_no_video_is_said(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(OSError, match=message):
        list(frames(path))
    with pytest.raises(OSError, match=message):
        count_frames(path)


def test_plain_text_is_no_video_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("FFmpeg would draw this as a terminal does\n" * 100)
    with pytest.raises(OSError, match=r"notes\.txt contains no video"):
        list(frames(tmp_path / "notes.txt"))


def test_truncated_video_gives_what_is_there_and_then_says_so(tmp_path: Path) -> None:
    images = drawn(40)
    whole = encode(tmp_path / "a.mp4", images, options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    times: list[float] = []
    with pytest.raises(OSError, match=r"cut\.mp4 ends after \d\.\d of 4\.0 s"):
        times.extend(time for time, _ in frames(tmp_path / "cut.mp4"))
    assert 3 < len(times) < 30
    assert len(list(frames(tmp_path / "cut.mp4", stop=times[2]))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"start": -1.0}, "start must not be negative, got -1.0"),
        ({"start": float("nan")}, "start must not be negative, got nan"),
        ({"start": 2.0, "stop": 2.0}, "stop must be later than start, got 2.0 and 2.0"),
        ({"stop": 0.0}, "stop must be later than start, got 0.0 and 0.0"),
    ],
)
def test_rejects_arguments_at_once(options: dict[str, Any], message: str) -> None:
    for call in (frames, predict_frames):
        with pytest.raises(ValueError, match=message):
            call("absent.mp4", **options)


def test_rejects_other_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path must end in \.mp4, got 'a\.avi'"):
        VideoWriter("a.avi")
    with pytest.raises(TypeError, match=r"options must be among threshold, .*, batch_size, got on_error"):
        predict_frames("absent.mp4", on_error=print)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        predict_frames("absent.mp4", batch_size=0)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for call in (frames, predict_frames, count_frames, VideoWriter):
        with pytest.raises(ImportError, match=r"video needs PyAV: pip install 'dsct\[video\]'"):
            call("a.mp4")


def test_count_is_that_of_the_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [marked()] * 7)
    assert [count_frames(path, every) for every in (1, 2, 7, 8)] == [7, 4, 1, 1]
    assert count_frames(encode(tmp_path / "a.mkv", [marked()] * 7)) == 7
    assert count_frames(encode(tmp_path / "a.h264", [marked()] * 7)) is None


def assert_same(one: People, other: People) -> None:
    np.testing.assert_allclose(one.boxes, other.boxes, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-4, atol=1e-6)
    assert (one.labels, one.image_size) == (other.labels, other.image_size)


def test_people_of_frames_are_those_of_the_images(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", drawn(5))
    expected = dict(frames(path, every=2))
    found = dict(predict_frames(path, every=2, batch_size=2))
    assert list(found) == list(expected)
    assert sum(map(len, found.values())) > 2
    for time, people in found.items():
        assert_same(people, dsct.predict(expected[time]))
        assert people.source == expected[time]


def test_people_of_a_truncated_video_come_before_its_error(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.mp4", drawn(40), options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    read: list[float] = []
    judged: list[float] = []
    with pytest.raises(OSError, match="ends after"):
        read.extend(time for time, _ in frames(tmp_path / "cut.mp4"))
    with pytest.raises(OSError, match="ends after"):
        judged.extend(time for time, _ in predict_frames(tmp_path / "cut.mp4", batch_size=100))
    assert len(read) > 3
    assert judged == read


def test_only_the_batch_under_way_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Image.Image]] = []

    def endless(path: Path, **options: Any) -> Iterator[tuple[float, Image.Image]]:
        while True:
            image = Image.new("RGB", (32, 24))
            made.append(weakref.ref(image))
            yield 0.0, image

    monkeypatch.setattr(video_module, "frames", endless)
    most = 0
    for number, _ in enumerate(predict_frames("endless", batch_size=3, short_side=24)):
        most = max(most, sum(image() is not None for image in made))
        if number == 20:
            break
    assert 3 <= most <= 5


def scene_of(path: Path, shape: Fraction, rotation: int = 0) -> Path:
    """A wide scene, squeezed so that pixels of `shape` show it as it was."""
    (image,) = drawn(1)
    squeezed = image.resize((round(image.width / shape), image.height))
    return encode(path, [squeezed] * 3, rotation=rotation, pixel_shape=shape)


@pytest.mark.parametrize("shape", [Fraction(2), Fraction(1, 2), Fraction(4, 3)])
@pytest.mark.parametrize(("ending", "rotation"), [(".mp4", 0), (".mkv", 0), (".mp4", 90)])
def test_pixels_become_square(shape: Fraction, ending: str, rotation: int, tmp_path: Path) -> None:
    (image,) = drawn(1)
    path = scene_of(tmp_path / f"anamorphic{ending}", shape, rotation)
    upright = image.rotate(rotation, expand=True)
    for _, frame in frames(path):
        assert frame.size == upright.size
        difference = np.abs(np.asarray(frame, np.int16) - np.asarray(upright, np.int16))
        assert np.median(difference) < 12


def test_copies_of_an_anamorphic_video_have_square_pixels(tmp_path: Path) -> None:
    path = scene_of(tmp_path / "anamorphic.mp4", Fraction(2))
    with VideoWriter(tmp_path / "copy.mp4") as writer:
        for time, people in predict_frames(path, short_side=96):
            assert people.image_size == (128, 96)
            writer.write(time, annotate(people.source, people))
    with av.open(str(tmp_path / "copy.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio or 1) == (128, 96, 1)


def test_a_shape_that_no_pixel_has_is_damage(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", drawn(2), pixel_shape=Fraction(40))
    with pytest.raises(OSError, match=r"a\.mkv is damaged: its pixels would be 40 times as wide as high"):
        list(frames(path))


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_frames_that_an_edit_list_leaves_out_are_not_counted(ending: str, every: int, tmp_path: Path) -> None:
    path = encode(tmp_path / f"cut{ending}", drawn(12), first=-5, options={"avoid_negative_ts": "disabled"})
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 12
    times = [time for time, _ in frames(path, every=every)]
    assert times == pytest.approx([number / 10 for number in range(0, 7, every)])
    assert count_frames(path, every) == len(times)


def test_a_variable_frame_rate_keeps_times_and_count(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 0.55, 2.0]
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for time, image in zip(times, drawn(5), strict=True):
            writer.write(time, image)
    assert [time for time, _ in frames(tmp_path / "a.mp4")] == pytest.approx(times)
    assert count_frames(tmp_path / "a.mp4") == 5
