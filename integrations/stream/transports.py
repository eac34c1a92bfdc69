"""The transports of a stream: viewers on TCP, and the ffmpeg program, which relays it by SRT."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from typing import Any

from .. import Unsuitable

# FFmpeg's queue before SRT. Without a viewer it is emptied when full, so that the next viewer starts at the present.
FIFO_OPTIONS = {
    "fifo_format": "mpegts", "queue_size": "30", "drop_pkts_on_overflow": "1", "restart_with_keyframe": "1",
    "attempt_recovery": "1", "recover_any_error": "1", "recovery_wait_time": "0.05",
}  # fmt: skip
RETRY_DELAY_S = 1.0  # after a receiver did not take the stream
# Audio comes a little later than the frame of its time, and the muxer would hold the frame back for it. MPEG-TS may
# carry audio late, so there a frame waits for the next one at most (av_interleaved_write_frame holds one packet back).
MAX_INTERLEAVE_US = "1"
ERROR_CHARS = 200
MAX_BACKLOG_BYTES = 8 << 20  # of a viewer, which is then disconnected


class Relay:
    """The ffmpeg program, which takes our stream from a port of this machine and relays it without encoding again."""

    def __init__(self, port: int, to: str) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise Unsuitable(
                "SRT needs the ffmpeg program (apt install ffmpeg, brew install ffmpeg, winget install ffmpeg); "
                "tcp:// needs nothing"
            )
        source = ["-fflags", "nobuffer", "-probesize", "65536", "-analyzeduration", "200000"]
        source += ["-i", f"tcp://127.0.0.1:{port}"]
        queue = [argument for name, value in FIFO_OPTIONS.items() for argument in (f"-{name}", value)]
        self._command = [program, "-v", "info", "-hide_banner", "-nostats", "-nostdin", *source]
        self._command += [
            "-map",
            "0:v",
            "-map",
            "0:a?",
            "-c",
            "copy",
            "-max_interleave_delta",
            MAX_INTERLEAVE_US,
            "-f",
            "fifo",
            *queue,
            to,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._reader: threading.Thread | None = None
        self._last_line = ""
        self.watched = True  # until ffmpeg reports otherwise; it reports nothing if a viewer is there at once
        self.error = ""

    def restart(self) -> None:
        """Start ffmpeg, or start it again if it ended because its viewer left or it could not connect."""
        if self._process is not None and self._process.poll() is not None:
            if self._reader is not None:
                self._reader.join(1.0)
            self.error, self._process = self._last_line[:ERROR_CHARS], None
        if self._process is None and time.monotonic() - self._started > RETRY_DELAY_S:
            self._started, self.watched = time.monotonic(), True
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self._reader = threading.Thread(target=self._read, args=(self._process.stderr,), daemon=True)
            self._reader.start()

    def _read(self, stderr: Any) -> None:
        """Follow ffmpeg's messages: its fifo (libavformat/fifo.c) reports whether its output is open."""
        for line in stderr:
            self._last_line = line.decode(errors="replace").strip() or self._last_line
            if b"Recovery failed" in line:
                self.watched = False
            elif b"Recovery successful" in line:
                self.watched = True

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Viewers:
    """The viewers on TCP, as a file that MPEG-TS is written to. `write` never waits: a stuck viewer is disconnected."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.create_server((host, port), family=family, reuse_port=False)
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self._backlog: dict[socket.socket, bytearray] = {}  # not sent yet, by viewer

    def __len__(self) -> int:
        return len(self._backlog)

    def poll(self) -> None:
        """Accept new viewers, drop those that left, and send what is left to send."""
        with contextlib.suppress(BlockingIOError):
            while True:
                viewer = self._server.accept()[0]
                viewer.setblocking(False)
                viewer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._backlog[viewer] = bytearray()
        for viewer in list(self._backlog):
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
        for viewer in list(self._backlog):
            self._backlog[viewer] += data
            self._push(viewer)
        return len(data)

    def close(self) -> None:
        for viewer in list(self._backlog):
            self._drop(viewer)
        self._server.close()

    def _push(self, viewer: socket.socket) -> None:
        backlog = self._backlog[viewer]
        try:
            while backlog:
                del backlog[: viewer.send(backlog)]
        except BlockingIOError:
            if len(backlog) > MAX_BACKLOG_BYTES:
                self._drop(viewer)
        except OSError:
            self._drop(viewer)

    def _drop(self, viewer: socket.socket) -> None:
        del self._backlog[viewer]
        viewer.close()
