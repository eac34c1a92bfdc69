"""Stream out: H.264 and, with audio, AAC in MPEG-TS for OBS's media source, players and encoders.

tcp:// waits for any number of viewers, and encodes nothing while there are none. srt:// passes the same stream to the
ffmpeg program, because PyAV's wheels come without SRT. That waits for one viewer, or calls one with `?mode=caller`;
without a viewer, two frames a second are encoded, since each of them makes ffmpeg try again.
rtmp:// calls a receiver, and udp:// sends to an address or a multicast group, with or without receivers. FFmpeg's fifo
opens their sockets in a thread of its own, because PyAV would hold Python's lock until the receiver answers.
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
from urllib.parse import urlsplit

import numpy as np

from .. import AudioChunk, Frame, Layout, Output, Pixels, Unsuitable, VideoFormat
from .transports import MAX_INTERLEAVE_US, RETRY_DELAY_S, Relay, Viewers

IDLE_FPS = 2  # frames a second that a relay without a viewer gets
ANSWER_TIMEOUT_S = 5.0  # for a receiver to answer, and to accept data
FIFO_PACKETS = 2  # that FFmpeg's fifo takes before the receiver answers: one in its queue, and one being sent
MAX_QUEUED_CHUNKS = 512  # of audio; when the queue is full, the oldest are dropped
SCHEMES: dict[str, dict[str, str]] = {  # FFmpeg's options for each scheme
    "tcp": {},
    "srt": {
        "mode": "listener",
        "latency": "60000",
        "listen_timeout": "500000",  # so that ffmpeg keeps no older data for a viewer, and does not outlive us
    },
    "udp": {"pkt_size": "1316"},  # 7 cells of MPEG-TS
    "rtmp": {},
}


def address(url: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, address for FFmpeg). ValueError, with an example, if it is not a stream's address.

    What stands behind the question mark goes to FFmpeg letter by letter, as FFmpeg decodes none of it: pass phrases and
    SRT's stream ids ("#!::r=live,m=publish") are what they are. Only options that are missing are added.
    """
    place, _, typed = url.partition("?")
    parts = urlsplit(place)
    try:
        port = parts.port or (1935 if parts.scheme == "rtmp" else 0)
    except ValueError:
        port = 0
    if parts.scheme not in SCHEMES or not parts.hostname or not port:
        raise ValueError(
            f"{url!r} is not the address of a stream: use tcp://HOST:PORT, as in tcp://127.0.0.1:9710, or srt://, "
            "udp:// or rtmp://"
        )
    given = {option.partition("=")[0] for option in typed.split("&")}
    missing = [f"{name}={value}" for name, value in SCHEMES[parts.scheme].items() if name not in given]
    options = "&".join([*([typed] if typed else []), *missing])
    return parts.scheme, parts.hostname, port, f"{place}?{options}" if options else url


@dataclass(frozen=True)
class QueuedFrame:
    """A frame that waits to be encoded, with its own copy of the pixels (H * 3 / 2, W), yuv420p."""

    pixels: Pixels
    tick: int
    time: float


class StreamOutput(Output):
    """Streams the show. `send` never waits: where encoding or the network is slower, older frames are dropped.

    url: tcp://HOST:PORT or srt://HOST:PORT to listen on (127.0.0.1 serves this machine only), udp://HOST:PORT or
    rtmp://HOST/APP/KEY to send to. sound: send the show's audio too, at the time of its arrival.
    """

    layout: Layout = "yuv420p"
    holds = 0
    copies = ("out of the ring, because `send` does not wait",)
    short = "url"
    example = "stream:srt://127.0.0.1:9710"

    def __init__(self, url: str, sound: bool = False) -> None:
        self.url, self.wants_audio = url, sound
        self._scheme, self._host, self._port, self._to = address(url)
        self._viewers: Viewers | None = None
        self._relay: Relay | None = None
        self._newest: QueuedFrame | None = None
        self._chunks: deque[AudioChunk] = deque(maxlen=MAX_QUEUED_CHUNKS)
        self._last_tick = 0
        self._changed = threading.Condition()
        self._ended = False
        self._wanted = self._reached = False  # frames are to be encoded; packets get through, as far as one can know
        self._error = ""
        self._fatal_error: Exception | None = None  # of the thread, which has ended
        self._encoder = ""
        self._counts = {"frames": 0, "dropped": 0}
        self._thread: threading.Thread | None = None

    def open(self, fmt: VideoFormat) -> None:
        if fmt.width % 2 or fmt.height % 2:
            raise Unsuitable(f"cannot stream {fmt.width}x{fmt.height}: use an even width and height, for 4:2:0")
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
        """RuntimeError after an error that only a new output mends."""
        if self._fatal_error is not None:
            error = str(self._fatal_error) or type(self._fatal_error).__name__
            raise RuntimeError(f"the stream {self.url} stopped: {error}")
        expected = (self._fmt.height * 3 // 2, self._fmt.width)
        if frame.pixels.shape != expected:
            raise ValueError(f"a stream takes yuv420p {expected}, not {frame.pixels.shape}")
        if not self._wanted:
            return
        if self._relay and not self._arrives and 0 <= frame.tick - self._last_tick < self._fmt.fps / IDLE_FPS:
            return
        self._last_tick = frame.tick
        with self._changed:
            self._counts["dropped"] += self._newest is not None
            self._newest = QueuedFrame(np.array(frame.pixels, order="C"), frame.tick, frame.time)
            self._changed.notify()

    def send_audio(self, chunk: AudioChunk) -> None:
        if self.wants_audio and self._wanted and (self._relay is None or self._arrives):
            with self._changed:
                self._chunks.append(chunk)
                self._changed.notify()

    @property
    def _arrives(self) -> bool:
        """Whether packets reach a receiver, as far as one can know."""
        return self._reached and (self._relay is None or self._relay.watched)

    def status(self) -> Mapping[str, Any]:
        """url; watched: whether anybody receives the stream; connections: how many, as far as they can be counted;
        frames: sent so far; dropped: as encoding or the network was slow; encoder; error: why there is no receiver."""
        return {
            "url": self.url, "watched": self._arrives,
            "connections": len(self._viewers or ()) if self._relay is None else int(self._arrives),
            "encoder": self._encoder, "error": self._relay.error if self._relay else self._error, **self._counts,
        }  # fmt: skip

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None

    def _serve(self) -> None:
        import av

        try:
            while not self._ended:
                if self._viewers is not None and not self._has_viewer(self._viewers):
                    continue
                try:
                    self._stream()
                except TimeoutError:
                    self._error = f"{self.url}: does not answer"
                except (OSError, av.error.FFmpegError) as error:
                    self._error = f"{self.url}: {getattr(error, 'strerror', '') or error}"
                finally:
                    self._wanted = self._reached = False
                if self._viewers is None and not self._ended:
                    time.sleep(RETRY_DELAY_S)
        except Exception as error:  # not the network's: `send` raises it
            self._fatal_error = error
        finally:
            if self._relay is not None:
                self._relay.close()
            if self._viewers is not None:
                self._viewers.close()

    def _has_viewer(self, viewers: Viewers) -> bool:
        if self._relay is not None:
            self._relay.restart()
        viewers.poll()
        if not viewers:
            time.sleep(0.05)
        return bool(viewers)

    def _stream(self) -> None:
        """Stream until the last viewer has left. A later viewer's stream begins at the next key frame."""
        import av
        from av.codec.context import Flags

        from .coding import StreamEncoder

        form = "flv" if self._scheme == "rtmp" else "mpegts"
        options = {"flush_packets": "1"}
        if form == "mpegts":  # with PES lengths; without, players hold each frame until the next begins
            options |= {"mpegts_flags": "resend_headers", "omit_video_pes_length": "0"}
        if self._viewers is None:
            options["rw_timeout"] = str(round(ANSWER_TIMEOUT_S * 1e6))
            inner = ":".join(f"{name}={value}" for name, value in options.items())
            options = {"fifo_format": form, "format_opts": inner, "queue_size": "1"}
        wrapped = form if self._viewers else "fifo"
        if form == "mpegts":
            options["max_interleave_delta"] = MAX_INTERLEAVE_US
        container: Any = av.open(self._viewers or self._to, "w", format=wrapped, options=options)
        try:
            encoder = StreamEncoder(container, self._fmt, self.wants_audio)
            if form == "flv":  # FLV needs the codec's headers first, but the fifo does not ask for them
                container.streams.video[0].codec_context.flags |= Flags.global_header
            container.start_encoding()
            self._encoder = encoder.encoder
            with self._changed:
                self._newest, self._wanted, self._reached = None, True, self._viewers is not None
                self._chunks.clear()
            muxed = 0
            while (taken := self._take()) is not None:
                if (packets := encoder.packets(*taken)) is None:
                    return
                self._counts["frames"] += taken[0] is not None
                for packet in packets:
                    container.mux(packet)
                    muxed += 1
                if muxed > FIFO_PACKETS + encoder.held_packets_max:
                    self._reached, self._error = True, ""
                if self._viewers is not None:
                    self._viewers.poll()
                    if not self._viewers:
                        return
        finally:
            with contextlib.suppress(OSError, av.error.FFmpegError):  # the receiver may be gone already
                container.close()

    def _take(self) -> tuple[QueuedFrame | None, list[AudioChunk]] | None:
        """Wait for a frame or audio, and return what came since the last call; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._chunks or self._ended)
            frame, self._newest = self._newest, None
            chunks = list(self._chunks)
            self._chunks.clear()
            return None if self._ended else (frame, chunks)
