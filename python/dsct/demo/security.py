"""Keeps other web pages in the same browser away from this one."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: A page of another name that resolves to this computer (DNS rebinding) asks for that name, and gets nothing.
HOSTS = ("127.0.0.1", "localhost")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def protected(app: ASGIApp) -> ASGIApp:
    """`app` behind a check of the host, a check of the origin, and with `HEADERS` in every response."""
    return _WithHeaders(TrustedHostMiddleware(_SameOrigin(app), allowed_hosts=HOSTS, www_redirect=False))


class _WithHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _SameOrigin:
    """Refuses what a page of another origin sends; programs that are not browsers send no origin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = Headers(scope=scope)
            own = f"{scope['scheme']}://{headers.get('host', '')}"
            if headers.get("origin", own) != own or headers.get("sec-fetch-site", "none") not in (
                "none",
                "same-origin",
            ):
                refusal = JSONResponse({"error": "Another web page may not use this one."}, status_code=403)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
