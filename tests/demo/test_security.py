"""Whom the demonstration answers, and what it lets its page do."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dsct.demo import server
from dsct.demo.scenes import scene_png
from dsct.demo.security import HEADERS
from tests.demo.client import HERE, encoded, noise


def test_the_page_loads_nothing_from_elsewhere(demo_client: TestClient) -> None:
    page = demo_client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    files = list(server.PAGE.iterdir())
    assert {path.suffix for path in files} == {".html", ".css", ".js", ".svg"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\w+://[^\s\"']*", text)) <= {"http://www.w3.org/2000/svg"}
        assert "innerHTML" not in text
        assert demo_client.get(f"/page/{path.name}").text == text
    for address in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert demo_client.get(address).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:7860", "LOCALHOST"])
def test_this_computer_is_answered(demo_client: TestClient, host: str) -> None:
    assert demo_client.get("/", headers={"Host": host.lower()}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7860", "0.0.0.0", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/about", "/page/demo.js", "/scenes/0.png"])
def test_other_names_of_this_computer_are_not_answered(demo_client: TestClient, host: str, path: str) -> None:
    """DNS rebinding: a page of evil.example, which its owner lets resolve to 127.0.0.1."""
    response = demo_client.get(path, headers={"Host": host})
    assert response.status_code == 400
    assert "dsct" not in response.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_pages_cannot_send_images(demo_client: TestClient, headers: dict[str, str]) -> None:
    response = demo_client.post("/api/people", content=scene_png(0), headers=headers)
    assert (response.status_code, response.json()) == (403, {"error": "Another web page may not use this one."})


def test_the_page_itself_and_programs_can_send_images(demo_client: TestClient) -> None:
    for headers in ({}, {"Origin": HERE}, {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}):
        assert demo_client.post("/api/people", content=scene_png(0), headers=headers).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/people"), ("PUT", "/api/people"), ("POST", "/")])
def test_other_methods_are_refused(demo_client: TestClient, method: str, path: str) -> None:
    assert demo_client.request(method, path).status_code == 405


def test_every_answer_has_the_protecting_headers(demo_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "look", lambda *arguments: 1 / 0)
    answers = [demo_client.get(path) for path in ("/", "/api/about", "/page/demo.js", "/scenes/0.png", "/absent")]
    answers.append(demo_client.get("/", headers={"Host": "evil.example"}))
    answers.append(demo_client.post("/api/people", content=b"x", headers={"Origin": "null"}))
    answers.append(demo_client.post("/api/people", content=encoded(noise(8, 8))))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 400, 403, 500]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_nothing_is_stored(demo_client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even as a temporary file, which forms of more than a megabyte usually become."""
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(arguments) if event == "open" and recording else None)
    recording = True
    answer = demo_client.post("/api/people", content=encoded(noise(1000, 800)))
    recording = False
    assert answer.status_code == 200
    assert [path for path, mode, flags in opened if flags & (os.O_WRONLY | os.O_RDWR) or "w" in (mode or "")] == []
