"""Stream out: H.264 in MPEG-TS for OBS's media source, players and encoders.

tcp:// waits for viewers, any number of them, and codes nothing while nobody watches. srt:// hands the same stream to
the ffmpeg program, because PyAV's wheels come without SRT; it waits for one viewer, or calls with `?mode=caller`, and
while nobody is there two pictures a second are coded, for each of them makes it look again.
rtmp:// calls a receiver, udp:// sends to an address or a group whether anybody hears it or not. FFmpeg's sockets are
opened by its fifo, in a thread of its own: PyAV would hold Python's lock until somebody answers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import av
import numpy as np
from av.codec.context import Flags

from . import Frame, Layout, Pixels, Unsuitable, VideoFormat
from .h264 import Coder

# FFmpeg's queue before SRT: while nobody is there it is emptied when full, so that a viewer begins at the present.
QUEUE = {
    "fifo_format": "mpegts", "queue_size": "30", "drop_pkts_on_overflow": "1", "restart_with_keyframe": "1",
    "attempt_recovery": "1", "recover_any_error": "1", "recovery_wait_time": "0.05",
}  # fmt: skip
IDLE = 2  # pictures a second that a relay without a viewer gets
ANSWER = 5.0  # seconds that a receiver may take to answer, and to take what it is sent
QUEUED = 2  # packets that FFmpeg's fifo takes while nobody answers: one that waits, and one that is on its way
RETRY = 1.0  # seconds until a receiver that did not take the stream is tried again
BEHIND = 8 << 20  # bytes that a viewer may be behind before it is let go
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


class Relay:
    """The ffmpeg program, which takes our stream from a port of this machine and sends it on, coded as it is."""

    def __init__(self, port: int, to: str) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise Unsuitable(
                "SRT needs the ffmpeg program (apt install ffmpeg, brew install ffmpeg, winget install ffmpeg); "
                "tcp:// needs nothing"
            )
        source = ["-fflags", "nobuffer", "-probesize", "65536", "-analyzeduration", "200000"]
        source += ["-i", f"tcp://127.0.0.1:{port}"]
        queue = [word for name, value in QUEUE.items() for word in (f"-{name}", value)]
        self._command = [program, "-v", "info", "-hide_banner", "-nostats", "-nostdin", *source, "-map", "0:v"]
        self._command += ["-c", "copy", "-f", "fifo", *queue, to]
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._listener: threading.Thread | None = None
        self._last_words = ""
        self.watched = True  # unless it says otherwise: of a viewer that is there at once it says nothing
        self.fault = ""

    def tend(self) -> None:
        """Start it, or again if it ended: its viewer left, or it could not begin."""
        if self._process is not None and self._process.poll() is not None:
            if self._listener is not None:
                self._listener.join(1.0)
            self.fault, self._process = self._last_words[:200], None
        if self._process is None and time.monotonic() - self._started > RETRY:
            self._started, self.watched = time.monotonic(), True
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
            self._listener.start()

    def _listen(self, said: Any) -> None:
        """FFmpeg's fifo (libavformat/fifo.c) says when the way out is open, and when it is not."""
        for line in said:
            self._last_words = line.decode(errors="replace").strip() or self._last_words
            if b"Recovery failed" in line:
                self.watched = False
            elif b"Recovery successful" in line:
                self.watched = True

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Viewers:
    """The file that MPEG-TS is written to: whoever is connected gets it. A stuck viewer is let go, `write` never
    waits."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.create_server((host, port), family=family, reuse_port=False)
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self._behind: dict[socket.socket, bytearray] = {}

    def __len__(self) -> int:
        return len(self._behind)

    def look(self) -> None:
        """Take in who came, let go of who left, and send on what could not be sent at once."""
        with contextlib.suppress(BlockingIOError):
            while True:
                viewer = self._server.accept()[0]
                viewer.setblocking(False)
                viewer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._behind[viewer] = bytearray()
        for viewer in list(self._behind):
            try:
                if viewer.recv(4096) == b"":
                    self._drop(viewer)
                    continue
            except BlockingIOError:
                pass
            except OSError:
                self._drop(viewer)
                continue
            self._push(viewer)

    def write(self, data: bytes) -> int:
        for viewer in list(self._behind):
            self._behind[viewer] += data
            self._push(viewer)
        return len(data)

    def close(self) -> None:
        for viewer in list(self._behind):
            self._drop(viewer)
        self._server.close()

    def _push(self, viewer: socket.socket) -> None:
        waiting = self._behind[viewer]
        try:
            while waiting:
                del waiting[: viewer.send(waiting)]
        except BlockingIOError:
            if len(waiting) > BEHIND:
                self._drop(viewer)
        except OSError:
            self._drop(viewer)

    def _drop(self, viewer: socket.socket) -> None:
        del self._behind[viewer]
        viewer.close()


class StreamOutput:
    """Sends the show to whoever takes it. `send` never waits: where coding or the network is slower, the newest
    picture wins.

    url: tcp://HOST:PORT or srt://HOST:PORT to listen on (127.0.0.1 serves this machine only), udp://HOST:PORT or
    rtmp://HOST/APP/KEY to send to.
    """

    layout: Layout = "yuv420p"
    holds = 0
    copies = ("out of the ring, for `send` does not wait",)

    def __init__(self, url: str) -> None:
        self.url = url
        self._scheme, self._host, self._port, self._to = address(url)
        self._viewers: Viewers | None = None
        self._relay: Relay | None = None
        self._newest: tuple[Pixels, int] | None = None
        self._last = 0
        self._there = threading.Condition()
        self._ended = False
        self._watched = self._reached = False  # pictures are wanted; they arrive, as far as the network says
        self._fault = ""
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
        if self._relay and not self._heard and 0 <= frame.tick - self._last < self._fmt.fps / IDLE:
            return
        self._last = frame.tick
        with self._there:
            self._counts["dropped"] += self._newest is not None
            self._newest = np.array(frame.pixels, order="C"), frame.tick
            self._there.notify()

    @property
    def _heard(self) -> bool:
        """Whether what is coded reaches anybody, as far as one can know."""
        return self._reached and (self._relay is None or self._relay.watched)

    def status(self) -> Mapping[str, Any]:
        """url; watched: whether anybody takes the stream now; connections: how many, of those that can be counted;
        frames sent, and dropped where coding or the network was slow; encoder; fault: why nobody takes it."""
        return {
            "url": self.url, "watched": self._heard,
            "connections": len(self._viewers or ()) if self._relay is None else int(self._heard),
            "encoder": self._encoder, "fault": self._relay.fault if self._relay else self._fault, **self._counts,
        }  # fmt: skip

    def close(self) -> None:
        with self._there:
            self._ended = True
            self._there.notify()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None

    def _serve(self) -> None:
        try:
            while not self._ended:
                if self._viewers is not None and not self._somebody(self._viewers):
                    continue
                try:
                    self._play()
                except TimeoutError:
                    self._fault = f"{self.url}: does not answer"
                except (OSError, av.error.FFmpegError) as error:
                    self._fault = f"{self.url}: {getattr(error, 'strerror', '') or error}"
                finally:
                    self._watched = self._reached = False
                if self._viewers is None and not self._ended:
                    time.sleep(RETRY)
        except Exception as fault:  # no network's: `send` says it
            self._broken = fault
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
        form = "flv" if self._scheme == "rtmp" else "mpegts"
        options = {"flush_packets": "1"}
        if form == "mpegts":  # lengths are said, or players hold each picture until the next one begins
            options |= {"mpegts_flags": "resend_headers", "omit_video_pes_length": "0"}
        if self._viewers is None:
            options["rw_timeout"] = str(round(ANSWER * 1e6))
            inner = ":".join(f"{name}={value}" for name, value in options.items())
            options = {"fifo_format": form, "format_opts": inner, "queue_size": "1"}
        wrapped = form if self._viewers else "fifo"
        container: Any = av.open(self._viewers or self._to, "w", format=wrapped, options=options)
        try:
            coder = Coder(container, self._fmt, live=True)
            if form == "flv":  # which is told of the code beforehand; the fifo does not ask for it
                container.streams.video[0].codec_context.flags |= Flags.global_header
            container.start_encoding()
            self._encoder = coder.name
            with self._there:
                self._newest, self._watched, self._reached = None, True, self._viewers is not None
            first: int | None = None
            muxed = 0
            while (taken := self._take()) is not None:
                pixels, tick = taken
                first = tick if first is None else first
                if tick < first:  # the clock began anew
                    return
                for packet in coder.encode(pixels, tick - first):
                    container.mux(packet)
                    muxed += 1
                self._counts["frames"] += 1
                if muxed > QUEUED:
                    self._reached, self._fault = True, ""
                if self._viewers is not None:
                    self._viewers.look()
                    if not self._viewers:
                        return
        finally:
            with contextlib.suppress(OSError, av.error.FFmpegError):  # nobody is there to take the end of it
                container.close()

    def _take(self) -> tuple[Pixels, int] | None:
        with self._there:
            self._there.wait_for(lambda: self._newest is not None or self._ended)
            taken, self._newest = self._newest, None
            return None if self._ended else taken
