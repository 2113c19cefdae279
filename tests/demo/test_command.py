"""``dsct demo``: ports, weights, the extra it needs, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsct.cli import app as cli
from dsct.demo.launch import listen
from dsct.demo.scenes import scene_png
from dsct.prediction.shipped_weights import SHIPPED_NOTE
from tests.demo.client import UNFINISHED


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


@pytest.mark.slow
def test_other_commands_do_without_the_extra() -> None:
    code = "import sys, dsct.cli; sys.exit(bool({'starlette', 'uvicorn', 'anyio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@contextmanager
def started(*command: str, end: signal.Signals = signal.SIGINT) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A ``dsct demo`` and its address; at the end, Ctrl-C or another signal must have ended it without a word."""
    with subprocess.Popen(
        [sys.executable, "-u", *command, "demo", "--no-browser", "--port", "0", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            found = re.fullmatch(r"(http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)\n", line)
            assert found, line
            urllib.request.urlopen(found[1], timeout=60).close()  # answers, so Ctrl-C is its own to handle
            yield process, found[1]
        finally:
            process.send_signal(end)
            output, errors = process.communicate(timeout=60)
    # Ended by SIGTERM, a program says so.
    assert (process.returncode, output, errors) == (0 if end == signal.SIGINT else -end, "", "")


@pytest.mark.slow
def test_the_command_serves_this_computer_alone_and_ends_quietly() -> None:
    with started("-m", "dsct") as (_, address):
        with urllib.request.urlopen(f"{address}/api/about", timeout=60) as answer:
            assert json.load(answer)["note"] == SHIPPED_NOTE
        for other in other_addresses():
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((other, int(address.rpartition(":")[2])), timeout=5)


SLOW = """
import time
from dsct.cli import app
from dsct.demo import server

def look(*arguments):
    print("looking")
    time.sleep(2)
    return {"people": []}

server.look = look
app()
"""


@pytest.mark.slow
def test_ctrl_c_lets_the_current_image_be_answered() -> None:
    with started("-c", SLOW) as (process, address), ThreadPoolExecutor(1) as threads:
        answer = threads.submit(urllib.request.urlopen, f"{address}/api/people", scene_png(0), 60)
        assert process.stdout is not None
        assert process.stdout.readline() == "looking\n"
        process.send_signal(signal.SIGINT)
        with answer.result() as response:
            assert json.load(response) == {"people": []}
        process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_although_clients_hang(end: signal.Signals) -> None:
    with ExitStack() as clients:
        with started("-m", "dsct", end=end) as (_, address):
            for number in range(20):
                place = ("127.0.0.1", int(address.rpartition(":")[2]))
                slow = clients.enter_context(socket.create_connection(place, timeout=5))
                slow.sendall(list(UNFINISHED.values())[number % len(UNFINISHED)])
            urllib.request.urlopen(f"{address}/api/people", scene_png(0), timeout=60).close()
            began = time.monotonic()
        assert time.monotonic() - began < 20, "less than the patience with one of them"


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
