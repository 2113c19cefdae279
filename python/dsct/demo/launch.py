"""From a model to an address that a browser can open, until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import webbrowser
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from dsct.demo.connections import MAX_CONNECTIONS, Connection

HOST = "127.0.0.1"


def serve(
    app: ASGIApp, port: int = 7860, *, open_browser: bool = True, announce: Callable[[str], None] = print
) -> None:
    """Serves `app` to this computer alone until Ctrl-C, which ends it quietly after the current image.

    Args:
        app: such as :func:`dsct.demo.create_app` returns.
        port: 0 takes any free one.
        open_browser: open the page in the user's browser.
        announce: called with the address once it can be opened.

    Raises:
        OSError: the port is taken, or this user may not use it.

    Example:
        >>> import dsct
        >>> from dsct.demo import create_app
        >>> app = create_app(dsct.DSCT(dsct.DSCTConfig.tiny()))
        >>> serve(app, port=8000)  # doctest: +SKIP
        http://127.0.0.1:8000
    """
    with listen(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        announce(address)
        if open_browser:
            # In a thread, because some browsers only return when they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        # Ctrl-C is the way to end it; uvicorn has closed everything before it raises this.
        with contextlib.suppress(KeyboardInterrupt):
            server_of(app).run(sockets=[listener])


def server_of(app: ASGIApp) -> uvicorn.Server:
    """A server of `app` with the limits of `dsct.demo.connections`; a client's mistake is no error of the server.

    Example:
        >>> from starlette.applications import Starlette
        >>> server_of(Starlette()).config.backlog
        64
    """
    # No more are accepted at a time than are kept, since each that gives way takes a file until it is closed.
    limits: Any = {"http": Connection, "ws": "none", "backlog": MAX_CONNECTIONS}
    return uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", **limits))


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1 that accepts connections, which wait until they are answered.

    Raises:
        OSError: the port is taken, or this user may not use it.

    Example:
        >>> with listen(0) as listener:
        ...     listener.getsockname()[0]
        '127.0.0.1'
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise OSError(f"port {port} {reason}; --port names another, and --port 0 takes any free one") from error
    return listener
