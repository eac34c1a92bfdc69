"""What the browser output serves, in the event loop of its own thread.

Routes: `/` the page; `/offer` WebRTC signalling as WHEP has it (draft-ietf-wish-whep: POST an SDP offer, get the
answer; DELETE what `Location` named); `/video.mjpeg` multipart/x-mixed-replace for OBS's media source, VLC, ffmpeg and
<img>; `/frame.jpg` one picture; `/status.json`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import re
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from .. import VideoFormat
from .audio import SoundFeed
from .video import Coded, Feeds, unix_ms

PAGE = Path(__file__).with_name("page.html")
WATCHERS = 32  # of each kind: more is no audience but a mistake
STALLED = 5.0  # seconds after which a player that takes nothing is let go
UNSENT_BYTES = 128 * 1024  # what the system may hold back for a player: more would be old pictures
OFFER_BYTES = 64 * 1024
BOUNDARY = "picture"
QUIET = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def own_names(host: str) -> set[str]:
    """What this machine is called: names that a browser may have asked for, lower case."""
    name = socket.gethostname().lower()
    return {"localhost", host.lower(), name, f"{name.partition('.')[0]}.local"}


def is_ours(host_header: str, names: set[str]) -> bool:
    """Whether a request was meant for this machine. An address always is; a name that merely resolves to it is how a
    foreign page reaches local programs (DNS rebinding)."""
    match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([^:\[\]]+)(?::\d+)?", host_header.strip())
    if match is None:
        return False
    name = (match[1] or match[2]).lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names or name.endswith(".localhost")
    return True


def same_origin(origin: str | None, host_header: str) -> bool:
    """Whether a request that does something comes from our own page, or from no page at all."""
    return origin is None or origin.lower() in (f"http://{host_header.lower()}", f"https://{host_header.lower()}")


def policy(page: str) -> str:
    """The Content-Security-Policy under which this page, and nothing else, runs."""
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
    """One page and its viewers. Everything here belongs to the event loop, but `feeds.show`, `sound.hear` and
    `facts`."""

    def __init__(self, fmt: VideoFormat, host: str, port: int, sound: bool = False) -> None:
        self.feeds = Feeds(fmt, asyncio.get_running_loop())
        self.sound = SoundFeed(asyncio.get_running_loop()) if sound else None
        self._fmt, self._host, self._port = fmt, host, port
        self._names = own_names(host)
        self._page = PAGE.read_text("utf-8")
        self._policy = policy(self._page)
        self._streams: set[asyncio.Task[Any]] = set()
        self._viewers: dict[str, asyncio.Task[None]] = {}
        self._peers: Any = None
        self._note = ""
        app = web.Application(middlewares=[self._guard], client_max_size=OFFER_BYTES)
        app.add_routes([
            web.get("/", self._show_page),
            web.get("/video.mjpeg", self._mjpeg, allow_head=False),
            web.get("/frame.jpg", self._still, allow_head=False),
            web.get("/status.json", self._status),
            web.post("/offer", self._offer),
            web.delete("/offer/{viewer}", self._hang_up),
        ])  # fmt: skip
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    @classmethod
    async def start(cls, fmt: VideoFormat, host: str, port: int, sound: bool = False) -> Server:
        """OSError if the port is taken, or the host is no address of this machine."""
        server = cls(fmt, host, port, sound)
        await server._runner.setup()
        try:
            await web.TCPSite(server._runner, host, port).start()
        except OSError:
            await server._runner.cleanup()
            raise
        server._port = server._runner.addresses[0][1]
        try:
            from . import webrtc

            webrtc.listen_on(server._runner.addresses[0][0])
            server._peers = webrtc
        except ImportError as error:
            server._note = f"no WebRTC, so more delay ({error}): pip install aiortc"
        return server

    def facts(self) -> dict[str, Any]:
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host
        host = f"[{host}]" if ":" in host else host
        streams, viewers = len(self._streams), len(self._viewers)
        facts = {
            "url": f"http://{host}:{self._port}/", "connections": streams + viewers, "webrtc": viewers,
            "mjpeg": streams, "coded": self.feeds.coded(), "dropped": self.feeds.dropped(),
            "frames": self.feeds.frames, "sound": self.sound is not None,
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
            raise web.HTTPForbidden(text="only the page itself may ask for that")
        return await handler(request)

    async def _show_page(self, _: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._policy, **QUIET}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def _status(self, _: web.Request) -> web.Response:
        fmt = self._fmt
        said = {
            "name": fmt.name, "width": fmt.width, "height": fmt.height, "fps": fmt.fps, "now": time.time() * 1e3,
            **self.facts(),
        }  # fmt: skip
        return web.json_response(said, headers=QUIET)

    async def _still(self, _: web.Request) -> web.Response:
        feed = self.feeds["JPEG"]
        with feed.watched():
            picture = await self._in_time(feed.newest(feed.number))
        return web.Response(body=picture.data, content_type="image/jpeg", headers=QUIET)

    async def _in_time(self, picture: Awaitable[Coded]) -> Coded:
        try:
            return await asyncio.wait_for(picture, STALLED)
        except asyncio.TimeoutError:
            raise web.HTTPServiceUnavailable(text="no picture comes from the show") from None
        except RuntimeError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from None

    async def _mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Newest wins: who is slow sees fewer pictures, and none that is old."""
        if len(self._streams) >= WATCHERS:
            raise web.HTTPServiceUnavailable(text=f"{WATCHERS} players are watching already")
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        response = web.StreamResponse(headers={"Content-Type": kind, **QUIET})
        task, feed = asyncio.current_task(), self.feeds["JPEG"]
        assert task is not None
        self._streams.add(task)
        try:
            await response.prepare(request)
            if request.transport is not None:
                unsent = request.transport.get_extra_info("socket")
                unsent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
            with feed.watched():
                number = feed.number
                await response.write(f"--{BOUNDARY}\r\n".encode())
                while True:
                    picture = await feed.newest(number)
                    number = picture.number
                    await asyncio.wait_for(response.write(part(picture)), STALLED)
        except (ConnectionError, asyncio.TimeoutError, RuntimeError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.discard(task)
        return response

    async def _offer(self, request: web.Request) -> web.Response:
        if self._peers is None:
            raise web.HTTPNotImplemented(text=self._note)
        if request.content_type != "application/sdp":
            raise web.HTTPUnsupportedMediaType(text="an offer is application/sdp")
        if len(self._viewers) >= WATCHERS:
            raise web.HTTPServiceUnavailable(text=f"{WATCHERS} browsers are watching already")
        viewer = self._peers.Viewer(self.feeds, self.sound)
        try:
            answer = await viewer.answer(await request.text())
        except ValueError as error:
            raise web.HTTPNotAcceptable(text=str(error)) from None
        name = uuid.uuid4().hex
        self._viewers[name] = asyncio.create_task(self._attend(name, viewer))
        headers = {"Location": f"/offer/{name}", **QUIET}
        return web.Response(status=201, text=answer, content_type="application/sdp", headers=headers)

    async def _attend(self, name: str, viewer: Any) -> None:
        try:
            await viewer.stay()
        finally:
            self._viewers.pop(name, None)
            await viewer.close()

    async def _hang_up(self, request: web.Request) -> web.Response:
        found = self._viewers.get(request.match_info["viewer"])
        if found is None:
            raise web.HTTPNotFound(text="nobody of that name watches")
        found.cancel()
        return web.Response(headers=QUIET)


def part(picture: Coded) -> bytes:
    """One part of the multipart, closed by the next one's boundary: players show a picture when they see its end."""
    head = (
        f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.data)}\r\nX-Due: {unix_ms(picture.due):.1f}\r\n\r\n"
    )
    return head.encode() + picture.data + f"\r\n--{BOUNDARY}\r\n".encode()
