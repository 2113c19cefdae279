"""The list of commands, the version and completion come before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import dsct
from dsct.cli import COMMANDS, app
from dsct.cli.on_demand import OnDemand

HEAVY = {"torch", "torchvision", "matplotlib", "numpy", "dsct._dsct"}


def started_as(program: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that is the installed program or the module, and prints what it imported of `HEAVY` at its end."""
    report = f"import sys, atexit; atexit.register(lambda: print('imported', sorted({HEAVY} & set(sys.modules))))"
    (folder / "sitecustomize.py").write_text(report)
    script = folder / "dsct"
    script.write_text("import sys\nsys.path.pop(0)\nfrom dsct.cli import app\napp()\n")
    started = [str(script)] if program == "script" else ["-m", "dsct"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.run(
        [sys.executable, *started, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("program", ["script", "module"])
@pytest.mark.parametrize("argument", ["--help", "--version", "--show-completion"])
def test_neither_help_nor_version_nor_completion_imports_torch(program: str, argument: str, tmp_path: Path) -> None:
    run = started_as(program, tmp_path, argument)
    assert run.stdout.splitlines()[-1] == "imported []", run.stderr
    if argument == "--version":
        assert run.stdout.splitlines()[0] == f"dsct {version('dsct')}"
    if argument == "--help":
        assert all(name in run.stdout for name in COMMANDS)


def test_a_command_runs_in_such_a_process(tmp_path: Path) -> None:
    run = started_as("module", tmp_path, "info")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0].split() == ["dsct", dsct.__version__]
    assert "imported" in run.stdout
    assert "'torch'" in run.stdout


def test_the_command_line_needs_no_torchvision() -> None:
    program = "import sys, dsct.cli; print('torchvision' in sys.modules, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_every_command_is_found_and_has_its_own_help() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert isinstance(command, OnDemand)
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert f"Usage: dsct {name} [OPTIONS]" in result.output
        assert command.help.endswith(".")


def test_an_unknown_command_is_named() -> None:
    result = CliRunner().invoke(app, ["trian"])
    assert result.exit_code == 2
    assert "No such command 'trian'" in result.output


def test_a_command_that_cannot_be_imported_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("this dsct was built for torch 2.3.1")

    monkeypatch.setattr(dsct, "load_all", fail)
    result = CliRunner().invoke(app, ["info"])
    assert (result.exit_code, result.output) == (1, "error: this dsct was built for torch 2.3.1\n")


@pytest.mark.parametrize(("words", "expected"), [("dsct pre", "predict"), ("dsct data ch", "check")])
def test_words_are_completed(words: str, expected: str) -> None:
    environment = {"_DSCT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    run = subprocess.run(
        [sys.executable, "-m", "dsct"], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert run.stdout.split() == [expected], run.stderr


def test_processes_of_a_command_load_everything(tmp_path: Path) -> None:
    """A process that is spawned has the arguments of its parent; what it gets by pickle needs the native part."""
    script = tmp_path / "dsct"
    script.write_text(
        "import multiprocessing, sys\n"
        "sys.path.pop(0)\n"
        "import dsct\n"
        "if __name__ == '__main__':\n"
        "    assert 'torch' not in sys.modules\n"
        "    dsct.load_all()\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(dsct.DSCTConfig.to_dict, (dsct.DSCTConfig.tiny(),))['backbone'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout == "tiny\n", run.stderr
