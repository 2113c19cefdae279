"""Errors that a user can cause end in one line, not in a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

USER_ERRORS = (ValueError, TypeError, OSError, ImportError, FloatingPointError)


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Wraps a command: a user's error is printed to stderr and ends the program with 1, Ctrl-C with 130."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        stderr = Console(stderr=True, soft_wrap=True, highlight=False)
        try:
            return command(*args, **kwargs)
        except USER_ERRORS as error:
            stderr.print("[red]error:[/red] ", end="")
            stderr.print(str(error), markup=False)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            stderr.print(str(interrupt) or "interrupted", markup=False)
            raise typer.Exit(130) from interrupt

    return wrapper
