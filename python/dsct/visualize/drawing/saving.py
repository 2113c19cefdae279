"""Figures as files: complete or not at all, and the same bytes for the same figure."""

from __future__ import annotations

import io
import os
from pathlib import Path
from threading import RLock
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from dsct.complete_files import replaced_when_complete
from dsct.visualize.drawing.figure import DPI

#: Ending -> metadata that would make two files of one figure differ.
FORMATS: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}

#: Matplotlib's settings are those of all threads: two that change them and back would leave them changed.
_ONE_AT_A_TIME = RLock()
os.register_at_fork(
    before=_ONE_AT_A_TIME.acquire, after_in_parent=_ONE_AT_A_TIME.release, after_in_child=_ONE_AT_A_TIME.release
)


def require_format(path: str | os.PathLike[str]) -> str:
    """The ending of a path to which a figure can be written.

    Raises:
        ValueError: it names no format of figures.

    Example:
        >>> require_format("people.PDF")
        '.pdf'
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"a figure must be written to a file ending in {', '.join(FORMATS)}, got {os.fspath(path)}")
    return ending


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: float = DPI) -> None:
    """Writes a figure in the format that the ending of `path` names: .png, .svg or .pdf.

    Args:
        figure: of matplotlib.
        path: the file to write.
        dpi: dots per inch; of .svg and .pdf, for the images in it.

    Raises:
        ValueError: the ending names no format, or `dpi` is not positive.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "empty.pdf"
        >>> save_figure(Figure(figsize=(2, 1)), path)
        >>> path.read_bytes()[:5]
        b'%PDF-'
    """
    ending = require_format(path)
    if not dpi > 0:
        raise ValueError(f"dpi must be above 0, got {dpi}")
    # Fonts of type 42, which publishers ask for; names inside SVG would be random without a salt.
    settings: Any = {"pdf.fonttype": 42, "svg.hashsalt": "dsct"}
    with replaced_when_complete(path) as partial:
        memory = io.BytesIO()  # matplotlib goes on after an error of the disk, and hides it behind others
        with _ONE_AT_A_TIME, matplotlib.rc_context(settings):
            figure.savefig(memory, format=ending[1:], dpi=dpi, metadata=FORMATS[ending])
        partial.write_bytes(memory.getbuffer())
