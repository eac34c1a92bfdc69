"""A WHIP endpoint written from RFC 9725, and what it receives: by aiortc, or by Janus' VideoRoom.

`Endpoint` is the HTTP side. What answers an offer is a `Received`, or a `Room`, which hands it to Janus and watches
there as one of its viewers does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from aiohttp import ClientSession, web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription


class Media(Protocol):
    colour: Any  # (3,) of the newest frame
    frames: int
    samples: list[Any]

    async def answer(self, offer: str) -> str: ...
    async def close(self) -> None: ...


async def _watch(media: Any, track: Any) -> None:
    with contextlib.suppress(Exception):
        while True:
            frame = await track.recv()
            if track.kind == "audio":
                media.samples.append(frame.to_ndarray().reshape(-1, 2) / 32768)
            else:
                media.colour = frame.to_ndarray(format="rgb24").mean((0, 1))
                media.frames += 1


class Received:
    """What aiortc receives. codec: the only one that it takes."""

    def __init__(self, codec: str | None = None) -> None:
        self.colour: Any = None
        self.frames, self.samples = 0, list[Any]()
        self._codec = codec
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[Any] = []
        self.peer.on("track", lambda track: self._tasks.append(asyncio.ensure_future(_watch(self, track))))

    async def answer(self, offer: str) -> str:
        if self._codec:
            codecs = RTCRtpReceiver.getCapabilities("video").codecs
            transceiver = self.peer.addTransceiver("video", direction="recvonly")
            transceiver.setCodecPreferences([c for c in codecs if c.mimeType == f"video/{self._codec}"])
        await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        return str(self.peer.localDescription.sdp)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.peer.close()


class Room:
    """A room of Janus: one handle publishes the offer, another watches it."""

    def __init__(self, port: int) -> None:
        self.colour: Any = None
        self.frames, self.samples = 0, list[Any]()
        self._url = f"ws://127.0.0.1:{port}/"
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._session = 0
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[Any] = []
        self._peer.on("track", lambda track: self._tasks.append(asyncio.ensure_future(_watch(self, track))))

    async def answer(self, offer: str) -> str:
        self._http = ClientSession()
        self._socket = await self._http.ws_connect(self._url, protocols=["janus-protocol"])
        self._tasks.append(asyncio.ensure_future(self._listen()))
        self._session = (await self._ask({"janus": "create"}))["data"]["id"]
        publisher = await self._attach()
        room = secrets.randbelow(1 << 30) + 1
        await self._tell(publisher, {"request": "create", "room": room, "publishers": 1})
        joined = await self._tell(publisher, {"request": "join", "ptype": "publisher", "room": room, "id": 7})
        assert joined["plugindata"]["data"]["videoroom"] == "joined", joined
        done = await self._tell(publisher, {"request": "configure"}, {"type": "offer", "sdp": offer})
        self._tasks.append(asyncio.ensure_future(self._join(room)))
        return str(done["jsep"]["sdp"])

    async def _join(self, room: int) -> None:
        while True:  # until Janus has the publisher's connection
            viewer = await self._attach()
            joined = await self._tell(
                viewer, {"request": "join", "ptype": "subscriber", "room": room, "streams": [{"feed": 7}]}
            )
            if "jsep" in joined:
                break
            await asyncio.sleep(0.2)
        await self._peer.setRemoteDescription(RTCSessionDescription(joined["jsep"]["sdp"], "offer"))
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        await self._tell(viewer, {"request": "start"}, {"type": "answer", "sdp": self._peer.localDescription.sdp})

    async def _attach(self) -> int:
        return int((await self._ask({"janus": "attach", "plugin": "janus.plugin.videoroom"}))["data"]["id"])

    async def _tell(self, handle: int, body: dict[str, Any], jsep: Any = None) -> dict[str, Any]:
        return await self._ask(
            {"janus": "message", "handle_id": handle, "body": body} | ({"jsep": jsep} if jsep else {})
        )

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        name = secrets.token_hex(6)
        self._answers[name] = asyncio.get_running_loop().create_future()
        session = {"session_id": self._session} if self._session else {}
        await self._socket.send_json({**message, **session, "transaction": name})
        return dict(await asyncio.wait_for(self._answers[name], 60))

    async def _listen(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            waiting = self._answers.get(data.get("transaction", ""))
            if waiting is not None and data["janus"] != "ack" and not waiting.done():
                waiting.set_result(data)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(Exception):
            await self._socket.close()
            await self._http.close()
        await self._peer.close()


@dataclass
class Endpoint:
    """The HTTP side: /whip/stage, and /moved, which redirects there. All of it is set and read from the test's thread.

    refuse: answers to the next offers instead of a session, (status, header fields). token: that it wants.
    """

    make: Any = Received
    token: str = ""
    refuse: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sessions: dict[str, Media] = field(default_factory=dict)
    made: list[Media] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Endpoint:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())
        return self

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{where:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/whip/stage"

    async def _serve(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, dict(request.headers)))
        if request.path == "/moved":
            return web.Response(status=307, headers={"Location": "/whip/stage"})
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=[("Link", link) for link in self.links])
        if request.method == "DELETE":
            media = self.sessions.pop(request.path, None)
            if media is None:
                return web.Response(status=404)
            await media.close()
            return web.Response()
        if request.method != "POST" or request.path != "/whip/stage":
            return web.Response(status=404)
        if request.content_type != "application/sdp":
            return web.Response(status=415)
        if self.refuse:
            status, headers = self.refuse.pop(0)
            return web.Response(status=status, headers=headers)
        media = self.make()
        answer = await media.answer(await request.text())
        place = f"/session/{secrets.token_hex(4)}"
        self.sessions[place] = media
        self.made.append(media)
        return web.Response(
            status=201,
            text=answer,
            content_type="application/sdp",
            headers=[("Location", place), ("ETag", '"x"'), *(("Link", link) for link in self.links)],
        )

    def drop(self) -> None:
        """End the media of every session without a word over HTTP."""

        async def work() -> None:
            for media in list(self.sessions.values()):
                await media.close()
            self.sessions.clear()

        self.do(work())

    def __exit__(self, *_: object) -> None:
        self.drop()
        self.do(self._runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


@contextlib.contextmanager
def janus(folder: Path, port: int) -> Iterator[int]:
    """Janus with its VideoRoom, and its API as a websocket on that port."""
    plugins = ",".join(f"libjanus_{name}.so" for name in ("sip", "lua", "duktape", "recordplay", "voicemail"))
    transports = ",".join(f"libjanus_{name}.so" for name in ("http", "rabbitmq", "mqtt", "nanomsg", "pfunix"))
    for name, text in {
        "janus.jcfg": f"""general: {{ debug_level = 3 }}
            plugins: {{ disable = "{plugins}" }}
            transports: {{ disable = "{transports}" }}""",
        "janus.transport.websockets.jcfg": f"""general: {{
            json = "compact"; ws = true; ws_port = {port}; ws_ip = "127.0.0.1" }}""",
        "janus.plugin.videoroom.jcfg": "general: { }",
    }.items():
        (folder / name).write_text(text)
    log = folder / "janus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(["janus", "-F", str(folder), "-o"], stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def is_colour(media: Media | None, colour: tuple[int, int, int]) -> bool:
    return media is not None and media.colour is not None and float(np.abs(media.colour - colour).max()) < 8
