"""Clients that are slow, silent, many or gone, and an ordinary one beside them; over real connections."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
import uvicorn

import dsct
from dsct.demo import connections, create_app, server
from dsct.demo.launch import HOST, listen, server_of
from dsct.demo.scenes import scene_png
from tests.demo.client import UNFINISHED, UPLOAD


@pytest.fixture
def running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Any]]:
    """Starts the page with some limits, and at the end of the test stops it; nothing may have been complained of."""
    with ExitStack() as stack:

        def start(look: Callable[..., Any] = lambda *_: {"people": []}, **limits: float) -> int:
            for name, limit in limits.items():
                monkeypatch.setattr(server if name == "MAX_IMAGES" else connections, name, limit)
            monkeypatch.setattr(server, "look", look)
            app = create_app(dsct.DSCT(dsct.DSCTConfig.tiny()).eval())
            return stack.enter_context(served(server_of(app)))

        yield start
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "".join(capfd.readouterr()) == ""  # where uvicorn writes, which does not pass on what it logs


@contextmanager
def served(page: uvicorn.Server) -> Iterator[int]:
    """The port on which a server runs, in a thread; it must end soon, whatever its clients do."""
    with listen(0) as listener:
        thread = threading.Thread(target=page.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            page.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "it waits for its clients"


def client(port: int, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=30)
    connection.sendall(data)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closed it within the time of the connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def answer(port: int, body: bytes | None = None) -> Any:
    """What an ordinary client gets for an image, or for the question what the page is about."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.request("POST" if body else "GET", "/api/people" if body else "/api/about", body)
        response = connection.getresponse()
        return response.status, json.load(response)


@pytest.mark.parametrize("data", UNFINISHED.values(), ids=UNFINISHED)
def test_a_client_that_does_not_finish_its_request_is_closed(running: Callable[..., int], data: bytes) -> None:
    port = running(PATIENCE=0.3)
    with client(port, data) as slow:
        assert is_closed(slow)
    assert answer(port, scene_png(0))[0] == 200


def test_a_client_that_drips_is_closed_too(running: Callable[..., int]) -> None:
    with client(running(PATIENCE=0.3), UPLOAD) as slow:
        slow.settimeout(0.02)
        for _ in range(500):
            try:
                slow.sendall(b"\0")
            except OSError:
                break
            if is_closed(slow):
                break
        else:
            pytest.fail("it may drip for ever")


def test_a_client_that_takes_no_answer_is_closed(running: Callable[..., int]) -> None:
    port = running(lambda *_: {"people": "x" * 30_000_000}, PATIENCE=0.3)
    body = scene_png(0)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(30)
        slow.connect((HOST, port))
        slow.sendall(b"POST /api/people HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(1.5)
        received = 0
        try:
            while chunk := slow.recv(1_000_000):
                received += len(chunk)
        except ConnectionError:
            pass
        assert received < 30_000_000


def test_computing_and_a_client_that_comes_again_do_not_count(running: Callable[..., int]) -> None:
    port = running(lambda *_: time.sleep(1) or {"people": []}, PATIENCE=0.3)
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.connect()
        first = connection.sock
        for body in (scene_png(0), *[None] * 5):
            connection.request("POST" if body else "GET", "/api/people" if body else "/api/about", body)
            assert connection.getresponse().read()
            time.sleep(0.1)
        assert connection.sock is first


def slow_clients(stack: ExitStack, port: int, count: int) -> list[socket.socket]:
    kinds = list(UNFINISHED.values())
    return [stack.enter_context(client(port, kinds[number % len(kinds)])) for number in range(count)]


def test_with_too_many_the_one_that_waited_longest_gives_way(running: Callable[..., int]) -> None:
    port = running(MAX_CONNECTIONS=8)
    with ExitStack() as stack:
        slow = slow_clients(stack, port, 20)
        assert answer(port, scene_png(0))[0] == 200
        assert all(is_closed(connection) for connection in slow[:13])
        slow[-1].settimeout(0.1)
        assert not is_closed(slow[-1])


@pytest.mark.slow
def test_two_hundred_slow_clients_and_an_ordinary_one(running: Callable[..., int]) -> None:
    port = running()
    with ExitStack() as stack:
        slow_clients(stack, port, 200)
        for _ in range(20):
            assert answer(port, scene_png(0))[0] == 200
            assert answer(port)[0] == 200


LEAVING = {
    **UNFINISHED,
    "image": UPLOAD.replace(b"1000000", str(len(scene_png(0))).encode()) + scene_png(0),
    "page": b"GET /page/demo.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("data", LEAVING.values(), ids=LEAVING)
def test_a_client_that_leaves_is_no_error(running: Callable[..., int], data: bytes, reset: bool) -> None:
    port = running(lambda *_: time.sleep(0.1) or {"people": "x" * 3_000_000})
    for _ in range(3):
        with client(port, data) as leaving:
            time.sleep(0.02)
            if reset:
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert answer(port)[0] == 200


def test_what_is_no_request_is_no_error(running: Callable[..., int]) -> None:
    port = running()
    for data in (
        b"\x16\x03\x01\x02\x00",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"\0" * 99999,
    ):
        with client(port, data) as other:
            other.shutdown(socket.SHUT_WR)
            assert is_closed(other) or b"HTTP/1.1 400" in b"H" + other.recv(100)
    assert answer(port)[0] == 200


def test_images_of_clients_that_left_are_not_looked_at(running: Callable[..., int]) -> None:
    looked: list[int] = []
    entered, goes_on = threading.Event(), threading.Event()

    def look(*_: object) -> dict[str, Any]:
        looked.append(1)
        entered.set()
        assert goes_on.wait(30)
        return {"people": []}

    port = running(look)
    with client(port, LEAVING["image"]):
        assert entered.wait(30)
        for _ in range(3):
            client(port, LEAVING["image"]).close()
        time.sleep(0.2)
        goes_on.set()
        assert answer(port, scene_png(0))[0] == 200
    assert looked == [1, 1]


def test_more_images_than_can_wait_are_refused(running: Callable[..., int]) -> None:
    entered, goes_on = threading.Event(), threading.Event()
    port = running(lambda *_: entered.set() or (goes_on.wait(30) and {"people": []}), MAX_IMAGES=2)
    with client(port, LEAVING["image"]) as first, client(port, LEAVING["image"]) as second:
        assert entered.wait(30)
        time.sleep(0.1)
        assert answer(port, scene_png(0)) == (
            503,
            {"error": "dsct demo is busy: 2 images are waiting. Try again in a moment."},
        )
        assert answer(port)[0] == 200
        goes_on.set()
        assert first.recv(12) == second.recv(12) == b"HTTP/1.1 200"
    assert answer(port, scene_png(0))[0] == 200
