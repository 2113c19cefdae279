"""The web application: the page, the synthetic scenes, and one address that takes an image."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from dsct.demo.predictions import finite, look
from dsct.demo.scenes import NUMBER_OF_SCENES, scene_png, scene_titles
from dsct.demo.security import protected
from dsct.demo.uploads import MAX_BYTES, MAX_PIXELS, Refused, read_image, receive
from dsct.post_process import least_score
from dsct.prediction.person_colors import PERSON_COLORS
from dsct.prediction.predictor import Predictor

if TYPE_CHECKING:
    from dsct.modules import DSCT

PAGE = Path(__file__).with_name("page")
#: That wait for the model, the one that it is looking at included.
MAX_IMAGES = 8


def create_app(model: DSCT, *, name: str = "your model", note: str | None = None) -> ASGIApp:
    """The demonstration as an ASGI application, to be run by any server.

    It answers ``GET /`` (the page), ``GET /api/about``, ``GET /scenes/{number}.png`` and ``POST /api/people``, whose
    body is the image file itself; ``?everyone=1`` adds people whose score is too low to be reported, for the page to
    choose. Only requests for 127.0.0.1 or localhost are answered.

    Args:
        model: in evaluation mode, on the device where it is to run.
        name: what the page calls the model.
        note: what a reader of its results must know, such as `dsct.shipped_weights.SHIPPED_NOTE`; the page shows it.

    Example:
        >>> import dsct
        >>> from starlette.testclient import TestClient
        >>> client = TestClient(create_app(dsct.DSCT(dsct.DSCTConfig.tiny())), base_url="http://127.0.0.1")
        >>> client.post("/api/people", content=b"hello").json()
        {'error': 'This file is not an image that dsct reads: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.'}
    """
    demo = _Demo(Predictor(model), name, note)
    routes = [
        Route("/", demo.page),
        Route("/api/about", demo.about),
        Route("/api/people", demo.people, methods=["POST"]),
        Route("/scenes/{number}.png", demo.scene),  # a text: thousands of digits are no number for Python
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    handlers: Any = {Refused: _refused, HTTPException: _not_served, ClientDisconnect: _left, Exception: _failed}
    return protected(Starlette(routes=routes, exception_handlers=handlers))


class _Demo:
    def __init__(self, predictor: Predictor, name: str, note: str | None) -> None:
        self._predictor, self._name, self._note = predictor, name, note
        self._everyone = Predictor(predictor.model, score_threshold=-math.inf)
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._images = 0  # that have been received and not answered

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def about(self, request: Request) -> Response:
        return JSONResponse(
            {
                "model": self._name,
                "note": self._note,
                "max_bytes": MAX_BYTES,
                "max_pixels": MAX_PIXELS,
                "colors": PERSON_COLORS,
                "multi_label": self._predictor.model.config.multi_label,
                "score_threshold": finite(least_score(self._predictor.model.config)),
                "scenes": [
                    {"url": f"/scenes/{number}.png", "title": title} for number, title in enumerate(scene_titles())
                ],
            }
        )

    async def scene(self, request: Request) -> Response:
        number = request.path_params["number"]
        if number not in map(str, range(NUMBER_OF_SCENES)):
            raise HTTPException(404, f"There are {NUMBER_OF_SCENES} scenes, from 0.")
        return Response(await anyio.to_thread.run_sync(scene_png, int(number)), media_type="image/png")

    async def people(self, request: Request) -> Response:
        """Images wait for each other: at the same time they would only take more memory and not be faster."""
        everyone = request.query_params.get("everyone", "0")
        if everyone not in ("0", "1"):
            raise Refused(400, f"everyone must be 0 or 1, got {everyone[:20]}.")
        predictor = self._everyone if everyone == "1" else self._predictor
        self._require_room()
        data = await receive(request.stream(), request.headers.get("content-length"))
        self._require_room()  # others may have sent theirs meanwhile
        self._images += 1
        try:
            async with self._one_at_a_time:
                if await request.is_disconnected():
                    return Response(status_code=499)  # to nobody
                answer = await anyio.to_thread.run_sync(self._read_and_look, data, predictor)
        except asyncio.CancelledError:  # by a second Ctrl-C, which no longer waits for the model
            return JSONResponse({"error": "dsct demo was ended."}, status_code=503)
        finally:
            self._images -= 1
        return JSONResponse(answer)

    def _require_room(self) -> None:
        if self._images >= MAX_IMAGES:
            raise Refused(503, f"dsct demo is busy: {MAX_IMAGES} images are waiting. Try again in a moment.")

    def _read_and_look(self, data: bytes, predictor: Predictor) -> dict[str, Any]:
        return look(read_image(data), predictor, self._note)


async def _refused(request: Request, error: Refused) -> Response:
    return JSONResponse({"error": str(error)}, status_code=error.status)


async def _not_served(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


async def _left(request: Request, error: ClientDisconnect) -> Response:
    """The client went while it sent its image: nobody is there to be answered, and nothing failed."""
    return Response(status_code=499)


async def _failed(request: Request, error: Exception) -> Response:
    """Starlette raises `error` again after this answer, so that the server prints its traceback."""
    sentence = "This image could not be processed; the terminal that runs dsct demo says why."
    return JSONResponse({"error": sentence}, status_code=500)
