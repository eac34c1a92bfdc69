"""The HTTP server of the browser output, in the event loop of its own thread.

Routes: `/` the page; `/offer` WebRTC signalling by WHEP (draft-ietf-wish-whep: POST an SDP offer to get the answer,
DELETE the URL in `Location` to end); `/video.mjpeg` multipart/x-mixed-replace for OBS's media source, VLC, ffmpeg and
<img>; `/frame.jpg` one frame; `/status.json`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from .. import VideoFormat
from ..same_origin import HEADERS, is_ours, own_names, same_origin
from .audio import AudioFeed
from .video import EncodedFrame, Feeds, unix_ms

PAGE = Path(__file__).with_name("page.html")
MAX_VIEWERS = 32  # of each kind, WebRTC and MJPEG
STALL_TIMEOUT_S = 5.0  # after which a player that takes no data is disconnected
SEND_BUFFER_BYTES = 128 * 1024  # in the system, for a player; more would delay the frames
MAX_OFFER_BYTES = 64 * 1024
BOUNDARY = "frame"


def policy(page: str) -> str:
    """The Content-Security-Policy that allows the scripts and styles of this page alone."""
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
            for body in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "connect-src 'self'; img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'"
    )


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """The page and its viewers. Use it from the event loop, but for `feeds.send`, `audio.encode` and `facts`."""

    def __init__(self, fmt: VideoFormat, host: str, port: int, audio: bool = False) -> None:
        self.feeds = Feeds(fmt, asyncio.get_running_loop())
        self.audio = AudioFeed(asyncio.get_running_loop()) if audio else None
        self._fmt, self._host, self._port = fmt, host, port
        self._names = own_names(host)
        self._page = PAGE.read_text("utf-8")
        self._policy = policy(self._page)
        self._streams: set[asyncio.Task[Any]] = set()
        self._viewers: dict[str, asyncio.Task[None]] = {}
        self._webrtc: Any = None  # the module, where its libraries are installed
        self._note = ""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_OFFER_BYTES)
        app.add_routes([
            web.get("/", self._show_page),
            web.get("/video.mjpeg", self._mjpeg, allow_head=False),
            web.get("/frame.jpg", self._frame, allow_head=False),
            web.get("/status.json", self._status),
            web.post("/offer", self._offer),
            web.delete("/offer/{viewer}", self._hang_up),
        ])  # fmt: skip
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    @classmethod
    async def start(cls, fmt: VideoFormat, host: str, port: int, audio: bool = False,
                    media_host: str | None = None) -> Server:  # fmt: skip
        """OSError if the port is in use, or the host is not an address of this machine.

        media_host: the address that frames are sent from by WebRTC, where it is not the page's own.
        """
        server = cls(fmt, host, port, audio)
        await server._runner.setup()
        try:
            await web.TCPSite(server._runner, host, port).start()
        except OSError:
            await server._runner.cleanup()
            raise
        server._port = server._runner.addresses[0][1]
        try:
            from . import webrtc

            webrtc.listen_on(media_host or server._runner.addresses[0][0])
            server._webrtc = webrtc
        except ImportError as error:
            server._note = f"frames arrive later, as MJPEG: WebRTC is missing ({error}): pip install aiortc"
        return server

    def facts(self) -> dict[str, Any]:
        """The output's status."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host
        host = f"[{host}]" if ":" in host else host
        streams, viewers = len(self._streams), len(self._viewers)
        facts = {
            "url": f"http://{host}:{self._port}/", "connections": streams + viewers, "webrtc": viewers,
            "mjpeg": streams, "coded": self.feeds.coded(), "dropped": self.feeds.dropped(),
            "frames": self.feeds.frames, "sound": self.audio is not None,
        }  # fmt: skip
        notes = [note for note in (self._note, *self.feeds.errors()) if note]
        return {**facts, "note": "; ".join(notes)} if notes else facts

    async def stop(self) -> None:
        for task in (leaving := [*self._streams, *self._viewers.values()]):
            task.cancel()
        if leaving:
            await asyncio.wait(leaving, timeout=1.0)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._runner.cleanup(), 2.0)
        self.feeds.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "localhost")
        if not is_ours(host, self._names):
            raise web.HTTPMisdirectedRequest(text=f"{host!r} is not this machine: use its address, or localhost")
        if request.method not in ("GET", "HEAD") and not same_origin(request.headers.get("Origin"), host):
            raise web.HTTPForbidden(text="only the page of this server may send this request")
        return await handler(request)

    async def _show_page(self, _: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._policy, **HEADERS}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def _status(self, _: web.Request) -> web.Response:
        fmt = self._fmt
        status = {
            "name": fmt.name, "width": fmt.width, "height": fmt.height, "fps": fmt.fps, "now": time.time() * 1e3,
            **self.facts(),
        }  # fmt: skip
        return web.json_response(status, headers=HEADERS)

    async def _frame(self, _: web.Request) -> web.Response:
        feed = self.feeds["JPEG"]
        with feed.watched():
            frame = await self._in_time(feed.newest(feed.number))
        return web.Response(body=frame.data, content_type="image/jpeg", headers=HEADERS)

    async def _in_time(self, frame: Awaitable[EncodedFrame]) -> EncodedFrame:
        try:
            return await asyncio.wait_for(frame, STALL_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise web.HTTPServiceUnavailable(text="the show sends no frames") from None
        except RuntimeError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from None

    async def _mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Send the newest frame again and again: a slow player gets fewer frames, but none that is old."""
        if len(self._streams) >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} players are connected, which is the most")
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        response = web.StreamResponse(headers={"Content-Type": kind, **HEADERS})
        task, feed = asyncio.current_task(), self.feeds["JPEG"]
        assert task is not None
        self._streams.add(task)
        try:
            await response.prepare(request)
            if request.transport is not None:
                connection = request.transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            with feed.watched():
                number = feed.number
                await response.write(f"--{BOUNDARY}\r\n".encode())
                while True:
                    frame = await feed.newest(number)
                    number = frame.number
                    await asyncio.wait_for(response.write(part(frame)), STALL_TIMEOUT_S)
        except (ConnectionError, asyncio.TimeoutError, RuntimeError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.discard(task)
        return response

    async def _offer(self, request: web.Request) -> web.Response:
        if self._webrtc is None:
            raise web.HTTPNotImplemented(text=self._note)
        if request.content_type != "application/sdp":
            raise web.HTTPUnsupportedMediaType(text="an offer must be application/sdp")
        if len(self._viewers) >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} browsers are connected, which is the most")
        viewer = self._webrtc.Viewer(self.feeds, self.audio)
        try:
            answer = await viewer.answer(await request.text())
        except ValueError as error:
            raise web.HTTPNotAcceptable(text=str(error)) from None
        name = uuid.uuid4().hex
        self._viewers[name] = asyncio.create_task(self._serve(name, viewer))
        headers = {"Location": f"/offer/{name}", **HEADERS}
        return web.Response(status=201, text=answer, content_type="application/sdp", headers=headers)

    async def _serve(self, name: str, viewer: Any) -> None:
        try:
            await viewer.wait()
        finally:
            self._viewers.pop(name, None)
            await viewer.close()

    async def _hang_up(self, request: web.Request) -> web.Response:
        found = self._viewers.get(request.match_info["viewer"])
        if found is None:
            raise web.HTTPNotFound(text="there is no viewer of that name")
        found.cancel()
        return web.Response(headers=HEADERS)


def part(frame: EncodedFrame) -> bytes:
    """One part of the multipart, with the next boundary at its end: players show a frame when they see its end."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(frame.data)}\r\nX-Due: {unix_ms(frame.due):.1f}\r\n\r\n"
    return head.encode() + frame.data + f"\r\n--{BOUNDARY}\r\n".encode()
