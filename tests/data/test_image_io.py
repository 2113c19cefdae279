"""Every way to hand over an image ends as the RGB that a person sees."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError

from dsct.data.image_io import load_image, turned_by_exif, upright_size

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
EXIF_ORIENTATION = 0x0112


def pixels(width: int = 6, height: int = 4) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def test_same_image_from_path_pil_array_and_tensor(tmp_path: Path) -> None:
    rgb = pixels()
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    path = saved(Image.fromarray(rgb), tmp_path / "a.png")
    for given in (path, str(path), Image.fromarray(rgb), rgb, tensor, tensor / 255, (tensor / 255).double()):
        result = load_image(given)
        assert result.mode == "RGB"
        assert result.size == (6, 4)
        np.testing.assert_array_equal(np.asarray(result), rgb)


def test_arrays_are_rgb_and_may_be_views() -> None:
    bgr = pixels()
    np.testing.assert_array_equal(np.asarray(load_image(bgr[..., ::-1])), bgr[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    """The eight orientations as the EXIF standard words them: where row 0 and column 0 of the stored image belong."""
    upright = pixels()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    path = saved(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(load_image(path)), upright)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(load_image(image)), upright)
    height, width = upright.shape[:2]
    assert height != width
    assert upright_size(path) == (width, height)
    assert turned_by_exif(path) == (orientation in (5, 6, 7, 8))


@pytest.mark.parametrize(("mode", "opaque"), [("RGBA", RED), ("LA", (76, 76, 76)), ("PA", RED)])
def test_transparent_pixels_lie_over_white(mode: str, opaque: tuple[int, int, int]) -> None:
    opaque_red_then_clear = Image.new("RGBA", (2, 1), RED)
    opaque_red_then_clear.putpixel((1, 0), (0, 0, 0, 0))
    result = load_image(opaque_red_then_clear.convert(mode))
    assert [result.getpixel((x, 0)) for x in range(2)] == [opaque, WHITE]


def test_half_transparent_is_mixed_with_white() -> None:
    assert load_image(Image.new("RGBA", (1, 1), (255, 0, 0, 128))).getpixel((0, 0)) == (255, 127, 127)


def test_palette_with_transparent_entry(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([*RED, *GREEN])
    palette.putpixel((1, 0), 1)
    assert load_image(saved(palette, tmp_path / "a.png")).getpixel((1, 0)) == GREEN
    clear = load_image(saved(palette, tmp_path / "b.png", transparency=1))
    assert [clear.getpixel((x, 0)) for x in range(2)] == [RED, WHITE]


def test_cmyk_file(tmp_path: Path) -> None:
    path = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "a.jpg", quality=100)
    red, green, blue = np.asarray(load_image(path))[4, 4]
    assert (red > 250, green < 5, blue < 5) == (True, True, True)


def test_grey_and_bilevel() -> None:
    grey = np.array([[0, 128, 255]], dtype=np.uint8)
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(np.asarray(load_image(grey)), expected)
    np.testing.assert_array_equal(np.asarray(load_image(Image.fromarray(grey))), expected)
    bilevel = Image.new("1", (2, 1), 1)
    assert load_image(bilevel).getpixel((0, 0)) == WHITE


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 32896, 65535, 256, 65279, 513]], dtype=np.uint16)
    path = saved(Image.fromarray(deep), tmp_path / "a.png")
    expected = [0, 1, 128, 255, 0, 254, 1]  # by 257, which leaves white white; by 256 the last three would be more
    assert np.asarray(load_image(path))[0, :, 0].tolist() == expected
    assert np.asarray(load_image(Image.fromarray(deep.astype(np.int32))))[0, :, 0].tolist() == expected


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, GREEN)]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert load_image(path).getpixel((0, 0)) == RED


def test_the_callers_image_is_left_alone() -> None:
    image = Image.fromarray(pixels())
    load_image(image).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(image), pixels())


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"must be \(H, W, 3\) or \(H, W\).*got \(4, 4, 4\)"),
        (np.zeros((2, 3, 4, 3), np.uint8), ValueError, r"got \(2, 3, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"not empty, got \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), TypeError, "must be uint8.*got float32"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), ValueError, r"must be \(3, H, W\).*got \(4, 4, 3\)"),
        (torch.zeros(3, 0, 4), ValueError, "not empty"),
        (torch.full((3, 2, 2), 1.5), ValueError, r"must lie in \[0, 1\], before any normalisation"),
        (torch.full((3, 2, 2), float("nan")), ValueError, r"must lie in \[0, 1\]"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), TypeError, "uint8 or floating point, got torch.int64"),
        (Image.new("F", (2, 2)), ValueError, "mode 'F'"),
        (Image.new("I", (2, 2), 70_000), ValueError, r"16-bit grey.*got \[70000, 70000\]"),
        (Image.new("RGB", (0, 2)), ValueError, "at least one pixel"),
        (None, TypeError, "must be a path, .* got NoneType"),
        (b"bytes", TypeError, "got bytes"),
    ],
)
def test_rejects(bad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_image(bad)


def test_missing_broken_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        load_image(tmp_path / "nowhere.jpg")
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    with pytest.raises(UnidentifiedImageError, match=r"text\.jpg"):
        load_image(text)
    buffer = io.BytesIO()
    Image.fromarray(pixels(64, 64)).save(buffer, format="PNG")
    cut = tmp_path / "cut.png"
    cut.write_bytes(buffer.getvalue()[:2000])
    with pytest.raises(OSError, match="truncated"):
        load_image(cut)
