"""What the demonstration does not take as an image, and the one line that says why."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from dsct.demo import uploads
from tests.demo.client import encoded, noise, refusal


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes whose header says that it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(1, 101), (3000, 29)])
def test_strips_are_refused(demo_client: TestClient, size: tuple[int, int]) -> None:
    sentence = "This image is too narrow: one side may be at most 100 times the other."
    assert refusal(demo_client, encoded(Image.new("RGB", size)), 422) == sentence


@pytest.mark.parametrize(
    "content", [b"hello", b"%PDF-1.7\n%", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 999]
)
def test_what_is_no_image_is_refused(demo_client: TestClient, content: bytes) -> None:
    assert "not an image that dsct reads: JPEG, PNG" in refusal(demo_client, content, 415)


def test_forms_that_need_other_programs_are_refused(demo_client: TestClient) -> None:
    assert "not an image" in refusal(demo_client, encoded(noise(8, 8), "EPS"), 415)


def test_empty_files_are_refused(demo_client: TestClient) -> None:
    assert refusal(demo_client, b"", 400) == "This file is empty."


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_broken_images_are_refused(demo_client: TestClient, form: str) -> None:
    whole = encoded(noise(80, 60), form)
    cut = whole[: len(whole) // 2]
    response = demo_client.post("/api/people", content=cut)
    assert response.status_code in (415, 422)
    assert "broken" in response.json()["error"] or "not an image" in response.json()["error"]


def test_damaged_bytes_never_end_in_a_failure() -> None:
    rng = np.random.default_rng(0)
    refused = []
    for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        whole = np.frombuffer(encoded(noise(24, 18), form), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 6)] = rng.integers(0, 256, 6)
            try:
                assert uploads.read_image(damaged.tobytes()).mode == "RGB"
            except uploads.Refused as error:
                refused.append(error.status)
    assert len(refused) > 10
    assert set(refused) <= {413, 415, 422}


@pytest.mark.parametrize("size", [(10_000, 5_001), (9_500, 9_500), (20_000, 20_000), (2_000_000, 2_000_000)])
def test_decompression_bombs_are_refused_by_their_header(
    demo_client: TestClient, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert "too many pixels: the limit is 50 million" in refusal(demo_client, png_that_claims(*size), 413)


def test_exactly_as_many_pixels_as_allowed_are_taken(demo_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PIXELS", 1200)
    assert demo_client.post("/api/people", content=encoded(noise(40, 30))).status_code == 200
    assert refusal(demo_client, encoded(noise(40, 31)), 413).endswith("this one has 40 x 31.")


def test_files_that_are_too_large_are_refused(demo_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 3_000_000)
    sentence = "This file is too large: the limit is 3 MB"
    assert refusal(demo_client, b"\0" * 3_200_000, 413) == f"{sentence}, this one has 3.2 MB."
    many = iter([b"\0" * 1_000_000] * 4)  # their length is not announced
    response = demo_client.post("/api/people", content=many)
    assert (response.status_code, response.json()["error"]) == (413, f"{sentence}.")


@pytest.mark.parametrize("announced", [None, "5", "many"])
def test_nothing_beyond_the_limit_is_received(announced: str | None) -> None:
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"\0" * 1_000_000

    with pytest.raises(uploads.Refused, match="too large"):
        asyncio.run(uploads.receive(chunks(), announced))
    assert given == 21


@pytest.mark.parametrize("announced", ["1" * 5000, "9" * 20])
def test_sizes_of_any_number_of_digits_are_refused(announced: str) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(uploads.Refused, match="too large: the limit is 20 MB") as caught:
        asyncio.run(uploads.receive(nothing(), announced))
    assert caught.value.status == 413


def of_mode(mode: str, value: float = 0) -> Image.Image:
    return Image.new(mode, (8, 8), value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (
            of_mode("F", 0.5),
            "This image must have integer pixels, got a PIL image of mode 'F' (32-bit float), which is not supported.",
        ),
        (of_mode("I", 70_000), "This image of mode 'I' must contain 16-bit grey in [0, 65535], got [70000, 70000]."),
    ],
    ids=["F", "I"],
)
def test_whole_images_of_other_pixels_are_not_called_broken(
    demo_client: TestClient, image: Image.Image, sentence: str
) -> None:
    assert refusal(demo_client, encoded(image, "TIFF"), 422) == sentence
