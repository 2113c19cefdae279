"""Formats that Pillow does not read: named with advice, or read with the help of a package; never taken for a video."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError
from typer.testing import CliRunner

import dsct
from dsct.cli import app
from dsct.cli.prediction.inputs import collect
from dsct.data.checks.image_files import read_image_file
from dsct.data.image_formats import open_image, still_format
from dsct.data.image_io import load_image, upright_size
from dsct.demo.uploads import Refused, read_image
from dsct.video import frames

REST = b"\x00" * 64


def box(*brands: bytes) -> bytes:
    content = b"ftyp" + brands[0] + b"\x00\x00\x00\x00" + b"".join(brands[1:])
    return (len(content) + 4).to_bytes(4, "big") + content + REST


STILL = {
    "HEIC": box(b"heic", b"mif1", b"heic"), "HEIC of a camera": box(b"mif1", b"mif1", b"heix"),
    "HEIC in a row": box(b"hevc", b"msf1"), "AVIF": box(b"avif", b"mif1"), "AVIF of a program": box(b"mif1", b"avif"),
    "JPEG XL": b"\xff\x0a" + REST, "JPEG XL in a container": b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a" + REST,
}  # fmt: skip


@pytest.mark.parametrize("name", STILL)
def test_formats_are_told_by_their_first_bytes(name: str) -> None:
    expected = "JPEG XL" if name.startswith("JPEG XL") else name[:4]
    assert still_format(STILL[name]) == expected


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"qt  ", b"M4V ", b"avc1", b"3gp5"])
def test_videos_are_none_of_them(brand: bytes) -> None:
    assert still_format(box(brand, b"mif1")) is None
    assert still_format(b"") is None


@pytest.fixture
def without_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow as it is without pillow-heif."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    Image.init()
    monkeypatch.setattr(
        Image, "OPEN", {name: value for name, value in Image.OPEN.items() if name not in ("HEIF", "AVIF")}
    )
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name not in ("HEIF", "AVIF")])


@pytest.mark.usefixtures("without_help")
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("HEIC", r"HEIC cannot be read: pip install 'dsct\[heif\]' or convert it to JPEG or PNG"),
        ("AVIF", r"AVIF cannot be read: pip install 'pillow>=11.3' or convert it to JPEG or PNG"),
        ("JPEG XL", r"JPEG XL cannot be read: convert it to JPEG or PNG"),
    ],
)
@pytest.mark.parametrize("suffix", [".HEIC", ".jpg", ".mp4", ""])
def test_what_cannot_be_read_is_named_wherever_it_comes_in(name: str, advice: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(STILL[name])
    for read in (load_image, upright_size, dsct.predict):
        with pytest.raises(OSError, match=rf"photo{suffix}: {advice}$"):
            read(path)
    for decode in (True, False):
        assert f"{name} cannot be read" in read_image_file(path, decode).problem
    with pytest.raises(Refused, match=f"{advice}.$"):
        read_image(STILL[name])
    with pytest.raises(OSError, match=r"photo.* (is a still image|is not a video)"):
        list(frames(path))
    result = CliRunner().invoke(app, ["predict", str(path), "--json"])
    assert result.exit_code == 1
    assert result.stdout == "[\n]\n"
    assert "cannot be read" in result.stderr if suffix != ".mp4" else "not a video" in result.stderr


def test_other_files_keep_pillow_s_error(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no image at all")
    with pytest.raises(UnidentifiedImageError):
        open_image(tmp_path / "x.jpg")
    with pytest.raises(UnidentifiedImageError):
        open_image(io.BytesIO(b"no image at all"))


def test_in_folders_they_count_as_images(tmp_path: Path) -> None:
    for name in ("a.HEIC", "b.heif", "c.hif", "d.jxl", "e.avif", "f.txt"):
        (tmp_path / name).write_bytes(STILL["HEIC"])
    files, others = collect([tmp_path])
    assert [(file.path.name, file.is_video) for file in files] == [
        (name, False) for name in ("a.HEIC", "b.heif", "c.hif", "d.jxl", "e.avif")
    ]
    assert dict(others) == {".txt": 1}


@pytest.mark.parametrize("codec", ["dpx", "jpegls"])
def test_still_images_that_ffmpeg_alone_reads_are_no_videos(codec: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "rgb24", Fraction(1, 25)
    frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), "red"))
    frame.pts = 0
    packets = [bytes(packet) for packet in (*encoder.encode(frame.reformat(format="rgb24")), *encoder.encode(None))]
    for name in (f"photo.{codec}", "photo"):
        (tmp_path / name).write_bytes(packets[0])
        result = CliRunner().invoke(app, ["predict", str(tmp_path / name), "--json"])
        assert (result.exit_code, result.stdout) == (1, "[\n]\n")
        assert "is a still image" in result.stderr


def test_a_heic_photograph_is_read_whole_and_upright(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (96, 64), "red")
    image.paste("blue", (0, 0, 48, 32))
    pillow_heif.from_pillow(image).save(tmp_path / "photo.HEIC", quality=90)
    for name in ("photo.HEIC", "renamed.jpg", "renamed"):
        path = tmp_path / name
        path.write_bytes((tmp_path / "photo.HEIC").read_bytes())
        loaded = load_image(path)
        assert loaded.size == upright_size(path) == (96, 64)
        blue, red = loaded.getpixel((10, 10)), loaded.getpixel((80, 50))
        assert isinstance(blue, tuple)
        assert isinstance(red, tuple)
        assert blue[2] > 200 > 60 > blue[0]
        assert red[0] > 200 > 60 > red[2]
    assert read_image((tmp_path / "photo.HEIC").read_bytes()).size == (96, 64)
    assert read_image_file(tmp_path / "photo.HEIC").size == (96, 64)
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "photo.HEIC"), "--out", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    assert '"width": 96, "height": 64' in (tmp_path / "out.json").read_text()
    assert '"time"' not in (tmp_path / "out.json").read_text()
    with pytest.raises(OSError, match=r"photo\.HEIC is a still image \(HEIC\), not a video"):
        list(frames(tmp_path / "photo.HEIC"))
