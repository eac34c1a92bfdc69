"""Whom a stream reaches: viewers on TCP, and the ffmpeg program, which sends it on by SRT."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from typing import Any

from .. import Unsuitable

# FFmpeg's queue before SRT: while nobody is there it is emptied when full, so that a viewer begins at the present.
QUEUE = {
    "fifo_format": "mpegts", "queue_size": "30", "drop_pkts_on_overflow": "1", "restart_with_keyframe": "1",
    "attempt_recovery": "1", "recover_any_error": "1", "recovery_wait_time": "0.05",
}  # fmt: skip
RETRY = 1.0  # seconds until a receiver that did not take the stream is tried again
# What is heard comes a little later than the picture of its time, and a picture would wait for it. MPEG-TS may carry it
# late, so there the picture waits for the next one at most (av_interleaved_write_frame holds one packet back).
UNEVEN = "1"  # microseconds by which one may be ahead of the other
BEHIND = 8 << 20  # bytes that a viewer may be behind before it is let go


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
        self._command = [program, "-v", "info", "-hide_banner", "-nostats", "-nostdin", *source]
        self._command += [
            "-map",
            "0:v",
            "-map",
            "0:a?",
            "-c",
            "copy",
            "-max_interleave_delta",
            UNEVEN,
            "-f",
            "fifo",
            *queue,
            to,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._listener: threading.Thread | None = None
        self._last_words = ""
        self.watched = True  # unless it says otherwise: of a viewer that is there at once it says nothing
        self.error = ""

    def tend(self) -> None:
        """Start it, or again if it ended: its viewer left, or it could not begin."""
        if self._process is not None and self._process.poll() is not None:
            if self._listener is not None:
                self._listener.join(1.0)
            self.error, self._process = self._last_words[:200], None
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
