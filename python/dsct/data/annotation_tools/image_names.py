"""Under which names an image may be found, from the path or URL that a tool wrote."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")


def image_names(written: str) -> list[str]:
    r"""Paths below an image root, the likeliest first.

    Label Studio puts eight hexadecimal digits before the name of an uploaded file and serves it under ``/data/``.

    Example:
        >>> image_names("/data/upload/1/0a1b2c3d-a.png")
        ['0a1b2c3d-a.png', 'a.png', 'upload/1/0a1b2c3d-a.png']
        >>> image_names("/data/local-files/?d=photos%2Fa%20b.png")
        ['photos/a b.png', 'a b.png']
        >>> image_names("https://host/photos/a.png?sign=1"), image_names("images\\a.png"), image_names("a.png")
        (['photos/a.png', 'a.png'], ['images/a.png', 'a.png'], ['a.png'])
    """
    path = written.strip().replace("\\", "/")
    address = urlsplit(path) if re.match(r"[a-z][a-z0-9+.-]+://", path, re.IGNORECASE) else None
    local = path.partition("/data/local-files/?")[2]
    if local:
        path = parse_qs(local).get("d", [""])[0] or path
    elif address is not None:
        path = unquote(address.path)
    elif path.startswith("/data/"):
        path = unquote(path.partition("?")[0])
    served = path.startswith("/data/upload/")
    path = path.removeprefix("/data/") if served else path
    path = path.lstrip("/") if address is not None or local else path.removeprefix("./")
    base = PurePosixPath(path).name
    plain = _UPLOAD_PREFIX.sub("", base)
    names = [base, plain, path] if served else [path, base, plain]
    return list(dict.fromkeys(filter(None, names))) or [written]
