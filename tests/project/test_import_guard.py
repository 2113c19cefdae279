"""Where the extension cannot be loaded, one sentence says why: another torch, a subinterpreter, no GIL."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from dsct import _import_guard

INTERPRETERS = next((name for name in ("_interpreters", "_xxsubinterpreters") if find_spec(name)), None)


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a process of its own that imports from `paths` first and then from where this one does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*paths, *sys.path]))}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def install(folder: Path, version: str) -> None:
    """Makes `folder` say that dsct `version`, built for torch 2.3 and 2.4, is installed in it."""
    metadata = folder / f"dsct-{version}.dist-info"
    metadata.mkdir()
    requirements = ["torchvision>=0.18", "torch<2.5,>=2.3", "numpy>=1.26"]
    lines = ["Metadata-Version: 2.4", "Name: dsct", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0+torch2.3"])
def test_another_torch_is_refused_in_one_sentence(tmp_path: Path, version: str) -> None:
    install(tmp_path, version)
    process = run("from dsct import DSCT", tmp_path)
    running = torch.__version__.split("+")[0]
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        f"ImportError: this dsct was built for torch>=2.3,<2.5, but torch {running} is installed: run "
        f"`pip install 'torch>=2.3,<2.5'`, or install a dsct that was built for torch {running}."
    )


@pytest.mark.parametrize("build", ["", "+cpu", "+cu130"])
def test_every_build_of_the_right_torch_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    install(tmp_path, "0.1.0+torch2.3")
    monkeypatch.syspath_prepend(tmp_path)
    assert _import_guard.required_torch() == ("2.3", "2.5")
    for version in ("2.3.1", "2.4.0", "2.4.0a0"):
        monkeypatch.setattr(torch, "__version__", f"{version}{build}")
        _import_guard.check_torch_version()
    for version in ("2.2.9", "2.5.0", "2.30.1", "3.0.0"):
        monkeypatch.setattr(torch, "__version__", f"{version}{build}")
        with pytest.raises(ImportError, match=rf"built for torch>=2\.3,<2\.5, but torch {version} is installed"):
            _import_guard.check_torch_version()


def test_a_source_tree_that_was_built_for_another_torch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requirement is a range; the loader then finds no function of another version."""

    def import_module(name: str) -> None:
        raise ImportError(f"{name}: undefined symbol: _ZN5torch8autograd13_wrap_outputs")

    monkeypatch.setattr(_import_guard.importlib, "import_module", import_module)
    sentence = rf"^this dsct was built for another torch than torch {torch.__version__.split('+')[0]}.*build it again"
    with pytest.raises(ImportError, match=sentence):
        _import_guard.load_extension()


def test_what_else_hinders_the_extension_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> None:
        raise ImportError("No module named 'dsct._dsct'")

    monkeypatch.setattr(_import_guard.importlib, "import_module", import_module)
    with pytest.raises(ImportError, match=r"^No module named 'dsct\._dsct'$"):
        _import_guard.load_extension()


def test_a_python_without_gil_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    _import_guard.check_interpreter()
    original = sysconfig.get_config_var
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1 if name == "Py_GIL_DISABLED" else original(name))
    with pytest.raises(ImportError, match=r"^dsct does not support free-threaded Python: [^.]+\.$"):
        _import_guard.check_interpreter()


@pytest.mark.skipif(INTERPRETERS is None, reason="this Python makes no subinterpreters")
@pytest.mark.parametrize("main", ["pass", "import dsct"])
def test_a_subinterpreter_is_refused_in_one_sentence(main: str) -> None:
    """Also after the main interpreter imported it; the guard comes before torch, which may crash there."""
    # One subinterpreter in a process: in Python 3.12.1 a second one crashes by itself.
    process = run(f"""
import {INTERPRETERS} as interpreters

{main}
subinterpreter = interpreters.create()
failure = interpreters.run_string(subinterpreter, '''
try:
    import dsct
except ImportError as error:
    print(error, flush=True)
''')
assert failure is None, failure
""")
    sentence = "dsct does not support subinterpreters: import it in the main interpreter of a process.\n"
    assert (process.returncode, process.stdout) == (0, sentence), process.stderr
