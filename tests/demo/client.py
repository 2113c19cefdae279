"""A program that uses the demonstration without a browser, and images for it to send."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

import dsct
from dsct.demo import create_app
from dsct.prediction.shipped_weights import SHIPPED_NOTE, SHIPPED_WEIGHTS

HERE = "http://127.0.0.1"

UPLOAD = b"POST /api/people HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
#: What clients send that then do nothing more.
UNFINISHED = {
    "says nothing": b"",
    "half a line": b"GET /api/ab",
    "half a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-",
    "half an image": UPLOAD + b"\x89PNG" * 100,
}


@contextmanager
def open_client() -> Iterator[TestClient]:
    app = create_app(dsct.load_model(SHIPPED_WEIGHTS), name="tiny", note=SHIPPED_NOTE)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def refusal(client: TestClient, content: bytes, status: int) -> str:
    response = client.post("/api/people", content=content)
    assert response.status_code == status, response.text
    (sentence,) = response.json().values()
    assert isinstance(sentence, str)
    return sentence
