"""Browser out: a page that fills the window with the program, by WebRTC or else as JPEGs, and MJPEG for players.

Frames are encoded once for all viewers, and not at all without viewers. `server` lists the routes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import threading
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from .. import AudioChunk, Frame, Layout, Output, Unsuitable, VideoFormat

if TYPE_CHECKING:
    from .server import Server

MAX_PORT = 65535
START_TIMEOUT_S = 30.0
FIXES = {
    errno.EADDRINUSE: "stop the program that uses it, or use another port, as in web:8081",
    errno.EACCES: "ports below 1024 belong to the system: use another, as in web:8080",
}


class WebOutput(Output):
    """Serves browsers and players. `send` never waits for them.

    host: 127.0.0.1 serves this machine only; 0.0.0.0 serves the network too. port: of TCP; WebRTC opens UDP ports of
    its own while there are viewers. sound: send the show's audio too, by WebRTC only.
    """

    layout: Layout = "yuv420p"
    holds = 0
    copies = ("out of the ring, for all viewers",)  # in `Feeds.send`
    short = "port"
    example = "web:8080"

    def __init__(self, host: str = "127.0.0.1", port: int = 8080, sound: bool = False) -> None:
        if not host:
            raise ValueError("host takes an address of this machine, as in 127.0.0.1, or 0.0.0.0 for all of them")
        if not 1 <= port <= MAX_PORT:
            raise ValueError(f"port takes a number from 1 to {MAX_PORT}, not {port}")
        self._host, self._port, self.wants_audio = host, port, sound
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        try:
            from .server import Server
        except ImportError as error:
            raise Unsuitable(
                f"a library of the browser output is missing ({error}): pip install aiohttp aiortc"
            ) from None
        self._fmt = fmt
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web", daemon=True)
        self._thread.start()
        try:
            self._server = self._wait(self._serve(Server))
        except (TimeoutError, concurrent.futures.TimeoutError):  # two classes before Python 3.11
            self.close()
            raise OSError(
                f"cannot serve browsers on {self._place}: that did not start within {START_TIMEOUT_S:g} s, since the "
                "machine is too busy: close other programs; it is tried again"
            ) from None
        except OSError as error:
            self.close()
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
            fix = FIXES.get(number, "host must be an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them")
            raise OSError(f"cannot serve browsers on {self._place}: {reason}; {fix}") from None

    @property
    def _place(self) -> str:
        """In words, where it listens."""
        return f"{self._host} port {self._port}"

    def _serve(self, server: type[Server]) -> Coroutine[Any, Any, Server]:
        return server.start(self._fmt, self._host, self._port, self.wants_audio)

    def _wait(self, work: Coroutine[Any, Any, Server]) -> Server:
        assert self._loop is not None
        started = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return started.result(START_TIMEOUT_S)
        finally:
            started.cancel()  # one that takes too long

    def send(self, frame: Frame) -> None:
        assert self._server is not None
        expected = (self._fmt.height * 3 // 2, self._fmt.width)
        if frame.pixels.shape != expected:
            raise ValueError(f"the browser output takes yuv420p {expected}, not {frame.pixels.shape}")
        self._server.feeds.send(frame.pixels, frame.time)
        self._frames = self._server.feeds.frames

    def send_audio(self, chunk: AudioChunk) -> None:
        if self._server is not None and self._server.audio is not None:
            self._server.audio.encode(chunk)

    def status(self) -> Mapping[str, Any]:
        """url: to open; connections: number of viewers, of which webrtc and mjpeg; coded: frames encoded by codec;
        dropped: frames that encoding was too slow for; frames: sent so far; sound: whether audio is sent; note: errors
        and missing libraries."""
        if self._server is None:
            return {"connections": 0, "frames": self._frames}
        return self._server.facts()

    def close(self) -> None:
        if self._loop is None or self._thread is None:
            return
        loop, self._loop = self._loop, None
        with contextlib.suppress(Exception):
            if self._server is not None:
                asyncio.run_coroutine_threadsafe(self._server.stop(), loop).result(3.0)
        self._server = None
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(2.0)
