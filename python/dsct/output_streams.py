"""Standard output and error whose reader may be gone, or which are a file on a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast


class OutputStream:
    """A text stream that says which one it is when it cannot be written, or goes on silently.

    Args:
        stream: where the text goes; None goes nowhere.
        name: for the message.
        silent: whether an error ends the output, and not the program.

    Example:
        >>> import io
        >>> text = io.StringIO()
        >>> OutputStream(text, "stdout", silent=True).write("done")
        4
        >>> text.getvalue()
        'done'
    """

    def __init__(self, stream: Any, name: str, silent: bool) -> None:
        self._stream, self._name, self._silent = stream, name, silent
        self._errors: list[OSError] = []

    def write(self, text: str | bytes) -> int:
        """Writes text, as far as that is possible."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Passes on what was written."""
        self._try(lambda: self._stream.flush())

    def _try(self, action: Callable[[], object]) -> None:
        if self._silent and (self._errors or self._stream is None):
            return
        try:
            action()
        except OSError as error:
            self._errors.append(error)
            if not self._silent:
                number = error.errno or errno.EIO
                raise OSError(number, error.strerror or os.strerror(number), self._name) from error

    @property
    def is_broken(self) -> bool:
        """Whether it could not be written."""
        return bool(self._errors)

    @property
    def buffer(self) -> OutputStream:
        """The same for bytes."""
        of_bytes = OutputStream(self._stream.buffer, self._name, self._silent)
        of_bytes._errors = self._errors
        return of_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def standard_streams(silent: bool = False) -> Iterator[None]:
    """Inside the block errors of standard output name it or, with `silent`, are none, as those of standard error.

    What the interpreter would write when it ends is dropped then, instead of a second complaint.

    Example:
        >>> with standard_streams():
        ...     print("found")
        found
    """
    before = sys.stdout, sys.stderr
    streams = OutputStream(sys.stdout, "stdout", silent), OutputStream(sys.stderr, "stderr", silent=True)
    sys.stdout, sys.stderr = cast(
        tuple[TextIO, TextIO], tuple(new if old else None for new, old in zip(streams, before, strict=True))
    )
    try:
        yield
        if before[0] is not None:
            streams[0].flush()
    finally:
        sys.stdout, sys.stderr = before
        for stream, old in zip(streams, before, strict=True):
            if old is not None and stream.is_broken:
                _end_silently(old)


def _end_silently(stream: Any) -> None:
    """Sends what is left in the buffers to nowhere: the interpreter's end would fail on it with code 120."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, number)
        finally:
            os.close(nowhere)
        stream.flush()
