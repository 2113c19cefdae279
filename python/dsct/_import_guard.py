"""A one-line error instead of an undefined symbol or a crash where the extension cannot be loaded."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.metadata
import re
import sys
import sysconfig
from pathlib import PurePath


def check_interpreter() -> None:
    """Refuses the interpreters that the extension does not support. Comes before torch, which may crash there.

    Raises:
        ImportError: this is a free-threaded Python, or a subinterpreter.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise ImportError("dsct does not support free-threaded Python: use a Python that was built with the GIL.")
    if in_subinterpreter():
        raise ImportError("dsct does not support subinterpreters: import it in the main interpreter of a process.")


def in_subinterpreter() -> bool:
    """Whether this code runs in an interpreter other than the first of the process."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # Python 3.13 and newer, and older
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() != interpreters.get_main())
    return False


def required_torch() -> tuple[str, str] | None:
    """The torch that this installation requires, such as from 2.13 and before 2.16; None if it does not say."""
    try:
        requirements = importlib.metadata.requires("dsct") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for requirement in requirements:
        if re.match(r"torch\s*[<>=!~(]", requirement):
            bounds = dict(re.findall(r"(>=|<)\s*([\d.]+)", requirement))
            return (bounds[">="], bounds["<"]) if len(bounds) == 2 else None
    return None


def as_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def check_torch_version() -> None:
    """Compares the running torch with the one that the extension was built for.

    Raises:
        ImportError: it is another one.
    """
    import torch

    required, running = required_torch(), torch.__version__.split("+")[0]
    if required is not None and not as_numbers(required[0]) <= as_numbers(running) < as_numbers(required[1]):
        range_ = f">={required[0]},<{required[1]}"
        raise ImportError(
            f"this dsct was built for torch{range_}, but torch {running} is installed: run "
            f"`pip install 'torch{range_}'`, or install a dsct that was built for torch {running}."
        )


def load_extension() -> None:
    """Loads the extension, after torch.

    Raises:
        ImportError: it is not there, or was built for another torch, which no requirement says of a source tree.
    """
    try:
        importlib.import_module("dsct._dsct")
    except ModuleNotFoundError as error:
        raise ImportError(
            "this dsct was installed without its extension, so that only dsct.ops and the attention of dsct.interop "
            "work: build it, by `make setup` or `pip install -e .`, or install a wheel for this torch."
        ) from error
    except ImportError as error:
        if not re.search("undefined symbol|Symbol not found", str(error)):
            raise
        raise ImportError(
            f"this dsct was built for another torch than torch {importlib.metadata.version('torch')}, which is "
            "installed: build it again, by `make setup` or `pip install -e .`"
        ) from error


def refuse_extension(reason: ImportError) -> None:
    """Has every later import of the extension, by whatever needs it, end as the first did."""
    sys.meta_path.insert(0, _Refusal(str(reason)))


class _Refusal(importlib.abc.MetaPathFinder):
    def __init__(self, reason: str) -> None:
        self.reason = reason

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "dsct._dsct":
            raise ImportError(self.reason)


def is_command_line() -> bool:
    """Whether this process is ``dsct ...`` or ``python -m dsct ...``, which may end before it needs torch."""
    program = PurePath((getattr(sys, "argv", None) or [""])[0]).name  # programs that embed Python may have none
    if program != "-m":  # which it is until Python has found the module to run
        # Processes that multiprocessing starts get the arguments of their parent, but were started otherwise.
        return program in ("dsct", "dsct.exe") and sys.argv[0] in sys.orig_argv
    return ("-m", "dsct") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
