"""The demonstration page as a program sees it: what it takes, what it refuses, and whom it answers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from starlette.testclient import TestClient
from typer.testing import CliRunner

import dsct
from dsct.cli import app as cli
from dsct.demo import create_app, predictions, server, uploads
from dsct.demo.launch import listen
from dsct.demo.scenes import NUMBER_OF_SCENES, scene_png, scene_titles
from dsct.demo.security import HEADERS
from dsct.person_cards import PERSON_COLORS
from dsct.predict import SHIPPED_NOTE, SHIPPED_WEIGHTS

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def model() -> dsct.DSCT:
    return dsct.load_model(SHIPPED_WEIGHTS)


@pytest.fixture(scope="module")
def client(model: dsct.DSCT) -> Iterator[TestClient]:
    app = create_app(model, name="tiny", note=SHIPPED_NOTE)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes whose header says that it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def refusal(client: TestClient, content: bytes, status: int) -> str:
    response = client.post("/api/people", content=content)
    assert response.status_code == status, response.text
    (sentence,) = response.json().values()
    assert isinstance(sentence, str)
    return sentence


def test_the_answer_is_what_predict_finds(client: TestClient, model: dsct.DSCT) -> None:
    answer = client.post("/api/people", content=scene_png(4)).json()
    expected = dsct.predict(Image.open(io.BytesIO(scene_png(4))), model)
    assert len(expected) == 3
    assert (answer["width"], answer["height"], answer["note"]) == (480, 360, SHIPPED_NOTE)
    for found, person in zip(answer["people"], expected, strict=True):
        assert found["labels"] == list(person.labels)
        assert found["box"] == pytest.approx(person.box, abs=0.01)
        assert found["score"] == pytest.approx(person.score, abs=1e-5)
        assert found["probabilities"] == pytest.approx(person.probabilities, abs=1e-5)


def test_every_layer_says_where_the_model_looked(client: TestClient, model: dsct.DSCT) -> None:
    config = model.config
    for person in client.post("/api/people", content=scene_png(4)).json()["people"]:
        assert len(person["layers"]) == config.dec_layers
        for layer in person["layers"]:
            points = config.nheads * config.num_feature_levels * config.dec_n_points
            assert np.array(layer["sampling_points"]).shape == (points, 2)
            assert len(layer["sampling_weights"]) == points
            assert min(layer["sampling_weights"]) >= 0
            assert len(layer["reference_point"]) == 2
            chosen = len(layer["context_relation"])
            assert chosen > 0
            assert np.array(layer["context_points"]).shape == (chosen, 2)
            assert len(layer["context_weights"]) == chosen
            assert set(layer["context_relation"]) == {"spatial", "semantic"}


def test_no_person_is_an_answer_too(client: TestClient) -> None:
    answer = client.post("/api/people", content=encoded(Image.new("RGB", (64, 48), "white"))).json()
    assert answer["people"] == []


@pytest.mark.parametrize("form", uploads.FORMATS)
def test_every_form_of_picture_is_taken(client: TestClient, form: str) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    response = client.post("/api/people", content=encoded(noise(40, 30), form))
    assert (response.status_code, response.json()["width"]) == (200, 40)


def test_pictures_are_turned_upright_and_shown_as_the_model_saw_them(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    sideways = Image.new("RGB", (60, 40), "red")
    sideways.paste("blue", (0, 0, 60, 20))
    answer = client.post("/api/people", content=encoded(sideways, "JPEG", exif=exif, quality=95)).json()
    assert (answer["width"], answer["height"]) == (40, 60)
    shown = shown_picture(answer)
    assert shown.size == (40, 60)
    assert np.array(shown)[30, 5].argmax() == 0, "red is on the left"
    assert np.array(shown)[30, 35].argmax() == 2, "blue is on the right"
    assert not shown.getexif()


def shown_picture(answer: dict[str, Any]) -> Image.Image:
    kind, _, data = answer["picture"].partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_large_pictures_are_shown_smaller_but_measured_in_their_own_pixels(client: TestClient) -> None:
    answer = client.post("/api/people", content=encoded(Image.new("RGB", (4000, 1000), "gray"))).json()
    assert (answer["width"], answer["height"]) == (4000, 1000)
    assert shown_picture(answer).size == (predictions.SHOWN_SIDE, 400)


@pytest.mark.parametrize("size", [(1, 1), (30, 3000), (3000, 30)])
def test_odd_sizes_are_no_failure(client: TestClient, size: tuple[int, int]) -> None:
    response = client.post("/api/people", content=encoded(Image.new("RGB", size)))
    assert response.status_code == 200, response.text
    assert (response.json()["width"], response.json()["height"]) == size


@pytest.mark.parametrize("size", [(1, 101), (3000, 29)])
def test_strips_are_refused(client: TestClient, size: tuple[int, int]) -> None:
    sentence = "This image is too narrow: one side may be at most 100 times the other."
    assert refusal(client, encoded(Image.new("RGB", size)), 422) == sentence


@pytest.mark.parametrize(
    "content", [b"hello", b"%PDF-1.7\n%", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 999]
)
def test_what_is_no_image_is_refused(client: TestClient, content: bytes) -> None:
    assert "not an image that dsct reads: JPEG, PNG" in refusal(client, content, 415)


def test_forms_that_need_other_programs_are_refused(client: TestClient) -> None:
    assert "not an image" in refusal(client, encoded(noise(8, 8), "EPS"), 415)


def test_empty_files_are_refused(client: TestClient) -> None:
    assert refusal(client, b"", 400) == "This file is empty."


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_broken_pictures_are_refused(client: TestClient, form: str) -> None:
    whole = encoded(noise(80, 60), form)
    cut = whole[: len(whole) // 2]
    response = client.post("/api/people", content=cut)
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
                assert uploads.read_picture(damaged.tobytes()).mode == "RGB"
            except uploads.Refused as error:
                refused.append(error.status)
    assert len(refused) > 10
    assert set(refused) <= {413, 415, 422}


@pytest.mark.parametrize("size", [(10_000, 5_001), (9_500, 9_500), (20_000, 20_000), (2_000_000, 2_000_000)])
def test_decompression_bombs_are_refused_by_their_header(
    client: TestClient, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert "too many pixels: at most 50 million" in refusal(client, png_that_claims(*size), 413)


def test_exactly_as_many_pixels_as_allowed_are_taken(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PIXELS", 1200)
    assert client.post("/api/people", content=encoded(noise(40, 30))).status_code == 200
    assert refusal(client, encoded(noise(40, 31)), 413).endswith("this one has 40 x 31.")


def test_files_that_are_too_large_are_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 3_000_000)
    sentence = "This file is too large: at most 3 MB are taken"
    assert refusal(client, b"\0" * 3_200_000, 413) == f"{sentence}; this one has 3.2 MB."
    many = iter([b"\0" * 1_000_000] * 4)  # their length is not announced
    response = client.post("/api/people", content=many)
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


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    files = list(server.PAGE.iterdir())
    assert {path.suffix for path in files} == {".html", ".css", ".js", ".svg"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\w+://[^\s\"']*", text)) <= {"http://www.w3.org/2000/svg"}
        assert "innerHTML" not in text
        assert client.get(f"/page/{path.name}").text == text
    for address in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert client.get(address).status_code == 200


def test_about_names_the_weights_the_limits_and_the_scenes(client: TestClient) -> None:
    about = client.get("/api/about").json()
    assert (about["model"], about["note"]) == ("tiny", SHIPPED_NOTE)
    assert (about["max_bytes"], about["max_pixels"]) == (20_000_000, 50_000_000)
    assert about["colors"] == list(PERSON_COLORS)
    assert [scene["title"] for scene in about["scenes"]] == scene_titles()
    pictures = {client.get(scene["url"]).content for scene in about["scenes"]}
    assert len(pictures) == NUMBER_OF_SCENES
    assert all(Image.open(io.BytesIO(picture)).format == "PNG" for picture in pictures)


def test_own_weights_carry_no_note(model: dsct.DSCT) -> None:
    client = TestClient(create_app(model, name="own.safetensors"), base_url=HERE)
    assert client.get("/api/about").json()["note"] is None
    assert client.post("/api/people", content=encoded(noise(40, 30))).json()["note"] is None


@pytest.mark.parametrize("path", ["/scenes/8.png", "/scenes/-1.png", "/page/../server.py", "/page/absent.js", "/x"])
def test_what_is_not_there_is_said(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:7860", "LOCALHOST"])
def test_this_computer_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host.lower()}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7860", "0.0.0.0", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/about", "/page/demo.js", "/scenes/0.png"])
def test_other_names_of_this_computer_are_not_answered(client: TestClient, host: str, path: str) -> None:
    """DNS rebinding: a page of evil.example, which its owner lets resolve to 127.0.0.1."""
    response = client.get(path, headers={"Host": host})
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
def test_other_pages_cannot_send_pictures(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/api/people", content=scene_png(0), headers=headers)
    assert (response.status_code, response.json()) == (403, {"error": "Another web page may not use this one."})


def test_the_page_itself_and_programs_can_send_pictures(client: TestClient) -> None:
    for headers in ({}, {"Origin": HERE}, {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}):
        assert client.post("/api/people", content=scene_png(0), headers=headers).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/people"), ("PUT", "/api/people"), ("POST", "/")])
def test_other_methods_are_refused(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 405


def test_every_answer_has_the_protecting_headers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "look", lambda *arguments: 1 / 0)
    answers = [client.get(path) for path in ("/", "/api/about", "/page/demo.js", "/scenes/0.png", "/absent")]
    answers.append(client.get("/", headers={"Host": "evil.example"}))
    answers.append(client.post("/api/people", content=b"x", headers={"Origin": "null"}))
    answers.append(client.post("/api/people", content=encoded(noise(8, 8))))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 400, 403, 500]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_failure_of_the_model_is_said_without_its_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(server, "look", fail)
    assert "the terminal that runs dsct demo says why" in refusal(client, scene_png(0), 500)
    monkeypatch.undo()
    assert client.post("/api/people", content=scene_png(0)).status_code == 200


def test_pictures_wait_for_each_other(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0

    def look(*arguments: Any) -> dict[str, Any]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        inside -= 1
        return {"people": []}

    monkeypatch.setattr(server, "look", look)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: client.post("/api/people", content=scene_png(0)), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert most == 1


def test_nothing_is_stored(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even as a temporary file, which forms of more than a megabyte usually become."""
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(arguments) if event == "open" and recording else None)
    recording = True
    answer = client.post("/api/people", content=encoded(noise(1000, 800)))
    recording = False
    assert answer.status_code == 200
    assert [path for path, mode, flags in opened if flags & (os.O_WRONLY | os.O_RDWR) or "w" in (mode or "")] == []


def test_a_taken_port_is_told_in_one_sentence() -> None:
    with listen(0) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["demo", "--no-browser", "--port", str(port)], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert result.output.strip() == (
        f"error: port {port} is taken; --port names another, and --port 0 takes any free one"
    )


def test_missing_weights_are_told_in_one_sentence(tmp_path: Path) -> None:
    arguments = ["demo", "--no-browser", "--weights", str(tmp_path / "absent.safetensors")]
    result = CliRunner().invoke(cli, arguments, env={"COLUMNS": "500"})
    assert result.exit_code == 1
    assert "absent.safetensors" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_extra_is_told_in_one_sentence(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("dsct.demo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("sys.meta_path", [_Absent(package), *sys.meta_path])
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    result = CliRunner().invoke(cli, ["demo", "--no-browser"], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert result.output.strip() == f'error: dsct demo needs {package}: pip install "dsct[demo]"'


class _Absent:
    """An import system in which one package is not installed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_other_commands_do_without_the_extra() -> None:
    code = "import sys, dsct.cli; sys.exit(bool({'starlette', 'uvicorn', 'anyio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_serves_loopback_only_and_ends_quietly_on_ctrl_c() -> None:
    command = [sys.executable, "-u", "-m", "dsct", "demo", "--no-browser", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            found = re.fullmatch(r"(http://127\.0\.0\.1:(\d+)) \(Ctrl-C ends it\)\n", line)
            assert found, line
            with urllib.request.urlopen(f"{found[1]}/api/about", timeout=60) as answer:
                assert json.load(answer)["note"] == SHIPPED_NOTE
            for other in other_addresses():
                with pytest.raises(OSError, match="refused"):
                    socket.create_connection((other, int(found[2])), timeout=5)
        finally:
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")


def other_addresses() -> set[str]:
    """Addresses of this machine besides 127.0.0.1."""
    names = {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return (names | {"127.0.0.2"}) - {"127.0.0.1"}


def test_the_browser_is_told_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    told: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: (told.append(address), opened.set()))
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: opened.wait(10))
    result = CliRunner().invoke(cli, ["demo", "--port", "0"])
    assert result.exit_code == 0, result.output
    assert [f"{address} (Ctrl-C ends it)" for address in told] == result.output.splitlines()
    told.clear()
    assert CliRunner().invoke(cli, ["demo", "--port", "0", "--no-browser"]).exit_code == 0
    assert told == []
