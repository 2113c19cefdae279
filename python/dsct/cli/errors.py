"""Errors that a user can cause end in one line, not in a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import IO, ParamSpec, TypeVar, cast

import typer
from rich.console import Console

from dsct.output_streams import OutputStream, standard_streams

P = ParamSpec("P")
R = TypeVar("R")

#: Exit code of a program that was stopped by a signal, as a shell would give it for Ctrl-C.
STOPPED = 130

USER_ERRORS = (ValueError, TypeError, OSError, ImportError, FloatingPointError)


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Wraps a command: a user's error is printed to stderr and ends the program with 1, Ctrl-C with 130.

    An error of standard output names it; one of standard error changes neither what is done nor the exit code.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with standard_streams():
                return command(*args, **kwargs)
        except USER_ERRORS as error:
            _say("[red]error:[/red] ", str(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            _say("", str(interrupt) or "interrupted")
            raise typer.Exit(STOPPED) from interrupt

    return wrapper


def _say(heading: str, text: str) -> None:
    stream = cast(IO[str], OutputStream(sys.stderr, "stderr", silent=True))
    stderr = Console(file=stream, stderr=True, soft_wrap=True, highlight=False)
    stderr.print(heading, end="")
    stderr.print(text, markup=False)
