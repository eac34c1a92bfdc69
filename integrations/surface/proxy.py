"""The pictures of program and preview: the monitors' routes, passed on under the address of the page."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import Any

import aiohttp
from aiohttp import web

from ..same_origin import HEADERS

STREAMS_MAX = 32
OFFER_BYTES_MAX = 64 * 1024
ANSWER_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 10.0
SEND_BUFFER_BYTES = 128 * 1024  # in the system, for a page; more would delay the frames
VIEWER = re.compile(r"[0-9a-f]{32}")


class Monitors:
    """urls: of the monitor of each bus that has one, each with "/" at its end."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None
        self._streams = 0

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=ANSWER_TIMEOUT_S, sock_read=STALL_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._session

    def _url(self, request: web.Request, path: str) -> str:
        bus = request.match_info["bus"]
        if not (url := self.urls.get(bus)):
            raise web.HTTPServiceUnavailable(text=f"there is no picture of the {bus} now", headers=HEADERS)
        return url + path

    async def offer(self, request: web.Request) -> web.Response:
        """WHEP: an SDP offer -> the monitor's answer, and in `Location` the path that ends the connection."""
        url, bus = self._url(request, "offer"), request.match_info["bus"]
        body = await request.content.read(OFFER_BYTES_MAX + 1)
        if len(body) > OFFER_BYTES_MAX:
            raise web.HTTPRequestEntityTooLarge(OFFER_BYTES_MAX, len(body))
        with _reachable(bus):
            async with self._client().post(url, data=body, headers={"Content-Type": request.content_type}) as answer:
                headers = dict(HEADERS)
                if location := answer.headers.get("Location"):
                    headers["Location"] = f"/{bus}{location}"
                kind = answer.content_type or "text/plain"
                return web.Response(status=answer.status, body=await answer.read(), content_type=kind, headers=headers)

    async def hang_up(self, request: web.Request) -> web.Response:
        viewer = request.match_info["viewer"]
        if not VIEWER.fullmatch(viewer):
            raise web.HTTPNotFound(text="there is no viewer of that name")
        with _reachable(request.match_info["bus"]):
            async with self._client().delete(self._url(request, f"offer/{viewer}")) as answer:
                return web.Response(status=answer.status, headers=HEADERS)

    async def frame(self, request: web.Request) -> web.Response:
        with _reachable(request.match_info["bus"]):
            async with self._client().get(self._url(request, "frame.jpg")) as answer:
                body, kind = await answer.read(), answer.content_type
                return web.Response(status=answer.status, body=body, content_type=kind, headers=HEADERS)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """MJPEG, until one of both ends goes. A slow page gets fewer frames: the monitor waits for it."""
        if self._streams >= STREAMS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{STREAMS_MAX} pages watch, which is the most")
        self._streams += 1
        try:
            with _reachable(request.match_info["bus"]):
                async with self._client().get(self._url(request, "video.mjpeg")) as answer:
                    kind: Any = answer.headers.get("Content-Type", "text/plain")
                    response = web.StreamResponse(status=answer.status, headers={"Content-Type": kind, **HEADERS})
                    await response.prepare(request)
                    if request.transport is not None:
                        connection = request.transport.get_extra_info("socket")
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
                    with contextlib.suppress(ConnectionError, asyncio.TimeoutError, aiohttp.ClientError):
                        async for chunk in answer.content.iter_any():
                            await asyncio.wait_for(response.write(chunk), STALL_TIMEOUT_S)
                    if request.transport is not None:
                        request.transport.abort()  # so that the page notices, and asks again
                    return response
        finally:
            self._streams -= 1

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _reachable(contextlib.AbstractContextManager[None]):  # noqa: N801
    """A monitor that does not answer is a plain 503: it may be on its way back."""

    def __init__(self, bus: str) -> None:
        self._bus = bus

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, aiohttp.ClientError | asyncio.TimeoutError | OSError):
            raise web.HTTPServiceUnavailable(text=f"the picture of the {self._bus} is not there: try again") from error
