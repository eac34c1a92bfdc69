"""WHIP out: the show by WebRTC into a media server (an SFU), which passes it on to thousands of viewers (RFC 9725).

`ingest` speaks the protocol, in a thread of its own: `send` waits neither for the server nor for the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import AudioChunk, Frame, Layout, Output, Unsuitable, VideoFormat

if TYPE_CHECKING:
    from .ingest import Publisher

CLOSE_TIMEOUT_S = 4.0  # for the server to hear of the end


def plain_address(url: str) -> str:
    """The address without what may be secret: a user's password, and all that follows a question mark."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def checked_token(token: str) -> str:
    """The token itself; "$NAME" stands for an environment variable. ValueError, without the token, if it is none."""
    if token.startswith("$"):
        name = token.strip("${}")
        token = os.environ.get(name, "").strip()
        if not token:
            raise ValueError(f"token: the environment variable {name} is not set: set it to the media server's token")
    if any(not "!" <= letter <= "~" for letter in token):
        raise ValueError("token takes the media server's bearer token, which has no spaces and no accents")
    return token


class WhipOutput(Output):
    """Sends the show to a media server by WHIP. `send` never waits; a lost connection is made again.

    url: the address that the media server gives for WHIP. token: its bearer token, or "$NAME" for the environment
    variable NAME, so that the token stands in no file; it is never printed. codec: auto lets the server choose, H.264
    first. sound: send the show's audio too.
    """

    layout: Layout = "yuv420p"
    holds = 0
    copies = ("out of the ring, because `send` does not wait",)  # in `Feeds.send`
    short = "url"
    example = "whip:https://sfu.example.com/whip/stage"

    def __init__(self, url: str, token: str = "", codec: str = "auto", sound: bool = False) -> None:
        parts = urlsplit(url)
        try:
            port_fits = parts.port is None or parts.port > 0
        except ValueError:  # of more than 65535, or no number
            port_fits = False
        if not port_fits:
            raise ValueError(f"url has a port that does not exist: {plain_address(url)} (1 to 65535, or none)")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "url takes the address that the media server gives for WHIP, as in https://sfu.example.com/whip/stage"
            )
        if token and "@" in parts.netloc:
            raise ValueError("url has a user or a password already, so token must stay empty")
        if codec.lower() not in ("auto", "h264", "vp8"):
            raise ValueError("codec takes auto, h264 or vp8")
        if not token.startswith("$"):
            checked_token(token)  # a variable is read where the show plays
        self._url, self._token, self._codec, self.wants_audio = url, token, codec.lower(), sound
        self._loop: asyncio.AbstractEventLoop | None = None
        self._publisher: Publisher | None = None
        self._thread: threading.Thread | None = None
        self._fmt: VideoFormat | None = None

    def open(self, fmt: VideoFormat) -> None:
        """Returns at once: the server is called from now on, until it answers."""
        if fmt.width % 2 or fmt.height % 2:
            raise Unsuitable(f"cannot send {fmt.width}x{fmt.height} by WHIP: use an even width and height, for 4:2:0")
        try:
            token = checked_token(self._token)
        except ValueError as error:
            raise Unsuitable(str(error)) from None
        try:
            from .ingest import Publisher
        except ImportError as error:
            raise Unsuitable(f"a library of the WHIP output is missing ({error}): pip install aiohttp aiortc") from None
        self._fmt = fmt
        self._loop = asyncio.new_event_loop()
        self._publisher = Publisher(fmt, self._loop, self._url, token, self._codec, self.wants_audio)
        self._thread = threading.Thread(target=self._loop.run_forever, name="whip", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._publisher.run(), self._loop)

    def send(self, frame: Frame) -> None:
        """RuntimeError after an error that only a new output mends."""
        assert self._publisher is not None
        assert self._fmt is not None
        expected = (self._fmt.height * 3 // 2, self._fmt.width)
        if frame.pixels.shape != expected:
            raise ValueError(f"WHIP takes yuv420p {expected}, not {frame.pixels.shape}")
        if self._publisher.fatal:
            raise RuntimeError(f"WHIP to {plain_address(self._url)} stopped: {self._publisher.fatal}")
        self._publisher.feeds.send(frame.pixels, frame.time)

    def send_audio(self, chunk: AudioChunk) -> None:
        if self._publisher is not None and self._publisher.audio is not None:
            self._publisher.audio.encode(chunk)

    def status(self) -> Mapping[str, Any]:
        """url: without secrets; state: connecting, connected or waiting; connections: 1 while the server receives;
        codec; coded: frames sent; dropped: as encoding was slow; lost: connections so far that ended; error: why the
        server does not receive, with the fix."""
        facts: dict[str, Any] = {"url": plain_address(self._url), "connections": 0}
        return facts | self._publisher.facts() if self._publisher is not None else facts

    def close(self) -> None:
        if self._loop is None or self._thread is None or self._publisher is None:
            return
        loop, self._loop = self._loop, None
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._publisher.stop(), loop).result(CLOSE_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(2.0)
