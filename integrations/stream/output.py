"""Stream out: H.264, and AAC where something is heard, in MPEG-TS for OBS's media source, players and encoders.

tcp:// waits for viewers, any number of them, and codes nothing while nobody watches. srt:// hands the same stream to
the ffmpeg program, because PyAV's wheels come without SRT; it waits for one viewer, or calls with `?mode=caller`, and
while nobody is there two pictures a second are coded, for each of them makes it look again.
rtmp:// calls a receiver, udp:// sends to an address or a group whether anybody hears it or not. FFmpeg's sockets are
opened by its fifo, in a thread of its own: PyAV would hold Python's lock until somebody answers.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np

from .. import AudioChunk, Frame, Layout, Output, Pixels, Unsuitable, VideoFormat
from .transports import RETRY, UNEVEN, Relay, Viewers

IDLE = 2  # pictures a second that a relay without a viewer gets
ANSWER = 5.0  # seconds that a receiver may take to answer, and to take what it is sent
QUEUED = 2  # packets that FFmpeg's fifo takes while nobody answers: one that waits, and one that is on its way
PIECES = 512  # of sound that wait to be coded; of more, the oldest go
SCHEMES: dict[str, dict[str, str]] = {  # and what FFmpeg is told beside the address
    "tcp": {},
    "srt": {
        "mode": "listener",
        "latency": "60000",
        "listen_timeout": "500000",
    },  # what waits for a viewer is no older, nor outlives us
    "udp": {"pkt_size": "1316"},  # 7 cells of MPEG-TS
    "rtmp": {},
}


def address(url: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, the address as FFmpeg takes it). Raises ValueError for what is no address of a stream."""
    parts = urlsplit(url)
    try:
        port = parts.port or (1935 if parts.scheme == "rtmp" else 0)
    except ValueError:
        port = 0
    if parts.scheme not in SCHEMES or not parts.hostname or not port:
        raise ValueError(
            f"{url!r} is no stream: it takes an address as in tcp://127.0.0.1:9710, srt://, udp://, rtmp://"
        )
    query = {**SCHEMES[parts.scheme], **dict(parse_qsl(parts.query))}
    return parts.scheme, parts.hostname, port, parts._replace(query=urlencode(query)).geturl()


@dataclass(frozen=True)
class Picture:
    """A picture of our own that waits to be coded."""

    pixels: Pixels
    tick: int
    time: float


class StreamOutput(Output):
    """Sends the show to whoever takes it. `send` never waits: where coding or the network is slower, the newest
    picture wins.

    url: tcp://HOST:PORT or srt://HOST:PORT to listen on (127.0.0.1 serves this machine only), udp://HOST:PORT or
    rtmp://HOST/APP/KEY to send to. sound: send what is heard, too, at the time when it was heard.
    """

    layout: Layout = "yuv420p"
    holds = 0
    copies = ("out of the ring, for `send` does not wait",)
    short = "url"
    example = "stream:srt://127.0.0.1:9710"

    def __init__(self, url: str, sound: bool = False) -> None:
        self.url, self.wants_audio = url, sound
        self._scheme, self._host, self._port, self._to = address(url)
        self._viewers: Viewers | None = None
        self._relay: Relay | None = None
        self._newest: Picture | None = None
        self._sound: deque[AudioChunk] = deque(maxlen=PIECES)
        self._last = 0
        self._there = threading.Condition()
        self._ended = False
        self._watched = self._reached = False  # pictures are wanted; they arrive, as far as the network says
        self._error = ""
        self._broken: Exception | None = None  # what ended the thread
        self._encoder = ""
        self._counts = {"frames": 0, "dropped": 0}
        self._thread: threading.Thread | None = None

    def open(self, fmt: VideoFormat) -> None:
        if fmt.width % 2 or fmt.height % 2:
            raise Unsuitable(f"cannot stream {fmt.width}x{fmt.height}: H.264 4:2:0 needs an even width and height")
        self._fmt = fmt
        if self._scheme == "srt":
            self._viewers = Viewers("127.0.0.1", 0)
            self._relay = Relay(self._viewers.port, self._to)
        elif self._scheme == "tcp":
            try:
                self._viewers = Viewers(self._host, self._port)
            except OSError as error:
                raise OSError(
                    f"cannot stream on {self.url}: {os.strerror(error.errno or 0)}; take another port, and an "
                    "address of this machine (127.0.0.1, or 0.0.0.0 for all of them)"
                ) from None
        self._thread = threading.Thread(target=self._serve, name="stream", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """RuntimeError once nothing can be sent any more, but by an output that is opened anew."""
        if self._broken is not None:
            raise RuntimeError(f"the stream {self.url} stopped: {self._broken or type(self._broken).__name__}")
        expected = (self._fmt.height * 3 // 2, self._fmt.width)
        if frame.pixels.shape != expected:
            raise ValueError(f"a stream takes yuv420p {expected}, not {frame.pixels.shape}")
        if not self._watched:
            return
        if self._relay and not self._arrives and 0 <= frame.tick - self._last < self._fmt.fps / IDLE:
            return
        self._last = frame.tick
        with self._there:
            self._counts["dropped"] += self._newest is not None
            self._newest = Picture(np.array(frame.pixels, order="C"), frame.tick, frame.time)
            self._there.notify()

    def send_audio(self, chunk: AudioChunk) -> None:
        if self.wants_audio and self._watched and (self._relay is None or self._arrives):
            with self._there:
                self._sound.append(chunk)
                self._there.notify()

    @property
    def _arrives(self) -> bool:
        """Whether what is coded reaches anybody, as far as one can know."""
        return self._reached and (self._relay is None or self._relay.watched)

    def status(self) -> Mapping[str, Any]:
        """url; watched: whether anybody takes the stream now; connections: how many, of those that can be counted;
        frames sent, and dropped where coding or the network was slow; encoder; error: why nobody takes it."""
        return {
            "url": self.url, "watched": self._arrives,
            "connections": len(self._viewers or ()) if self._relay is None else int(self._arrives),
            "encoder": self._encoder, "error": self._relay.error if self._relay else self._error, **self._counts,
        }  # fmt: skip

    def close(self) -> None:
        with self._there:
            self._ended = True
            self._there.notify()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None

    def _serve(self) -> None:
        import av

        try:
            while not self._ended:
                if self._viewers is not None and not self._somebody(self._viewers):
                    continue
                try:
                    self._play()
                except TimeoutError:
                    self._error = f"{self.url}: does not answer"
                except (OSError, av.error.FFmpegError) as error:
                    self._error = f"{self.url}: {getattr(error, 'strerror', '') or error}"
                finally:
                    self._watched = self._reached = False
                if self._viewers is None and not self._ended:
                    time.sleep(RETRY)
        except Exception as error:  # no network's: `send` says it
            self._broken = error
        finally:
            if self._relay is not None:
                self._relay.close()
            if self._viewers is not None:
                self._viewers.close()

    def _somebody(self, viewers: Viewers) -> bool:
        if self._relay is not None:
            self._relay.tend()
        viewers.look()
        if not viewers:
            time.sleep(0.05)
        return bool(viewers)

    def _play(self) -> None:
        """From the first viewer's coming to the last one's going. Who comes later begins at the next key frame."""
        import av
        from av.codec.context import Flags

        from .coding import Coded

        form = "flv" if self._scheme == "rtmp" else "mpegts"
        options = {"flush_packets": "1"}
        if form == "mpegts":  # lengths are said, or players hold each picture until the next one begins
            options |= {"mpegts_flags": "resend_headers", "omit_video_pes_length": "0"}
        if self._viewers is None:
            options["rw_timeout"] = str(round(ANSWER * 1e6))
            inner = ":".join(f"{name}={value}" for name, value in options.items())
            options = {"fifo_format": form, "format_opts": inner, "queue_size": "1"}
        wrapped = form if self._viewers else "fifo"
        if form == "mpegts":
            options["max_interleave_delta"] = UNEVEN
        container: Any = av.open(self._viewers or self._to, "w", format=wrapped, options=options)
        try:
            coded = Coded(container, self._fmt, self.wants_audio)
            if form == "flv":  # which is told of the code beforehand; the fifo does not ask for it
                container.streams.video[0].codec_context.flags |= Flags.global_header
            container.start_encoding()
            self._encoder = coded.encoder
            with self._there:
                self._newest, self._watched, self._reached = None, True, self._viewers is not None
                self._sound.clear()
            muxed = 0
            while (taken := self._take()) is not None:
                if (packets := coded.packets(*taken)) is None:
                    return
                self._counts["frames"] += taken[0] is not None
                for packet in packets:
                    container.mux(packet)
                    muxed += 1
                if muxed > QUEUED + coded.held:
                    self._reached, self._error = True, ""
                if self._viewers is not None:
                    self._viewers.look()
                    if not self._viewers:
                        return
        finally:
            with contextlib.suppress(OSError, av.error.FFmpegError):  # nobody is there to take the end of it
                container.close()

    def _take(self) -> tuple[Picture | None, list[AudioChunk]] | None:
        """What came since the last call, the picture or the sound or both; None at the end."""
        with self._there:
            self._there.wait_for(lambda: self._newest is not None or self._sound or self._ended)
            picture, self._newest = self._newest, None
            sound = list(self._sound)
            self._sound.clear()
            return None if self._ended else (picture, sound)
