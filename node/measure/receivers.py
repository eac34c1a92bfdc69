"""Who watches: a receiver for each way out, which says when a picture came and how light its middle is.

Each runs in a process of its own, tries again for as long as nobody sends, and can be killed or frozen at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from ..ipc.process import SPAWN, init_child, parent_died

Saw = Callable[[float], None]  # lightness of the picture's middle, 0 black to 1 white
AGAIN = 0.1  # seconds until a sender that is not there is looked for again
PATIENCE = 10.0  # seconds that a sender may be silent before it is taken for gone


def middle(plane: Any, columns: int | None = None) -> float:
    """Mean of a picture's middle. plane: of PyAV, or an array; columns: how many of it are picture."""
    rows = plane if isinstance(plane, np.ndarray) else np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    height, width = rows.shape[0], columns or rows.shape[1]
    return float(rows[height * 7 // 16 : height * 9 // 16 + 1, width * 7 // 16 : width * 9 // 16 + 1].mean())


def luma(frame: av.VideoFrame) -> float:
    """Of a frame whose first plane is Y', in the range that it says."""
    value = middle(frame.planes[0], frame.width)
    full = frame.format.name.startswith("yuvj") or int(frame.color_range) == int(av.video.reformatter.ColorRange.JPEG)
    return value / 255 if full else (value - 16) / 219


def ndi(source: str, saw: Saw) -> None:
    """Part of an NDI source's name. Each picture is scaled to a few pixels as it comes."""
    from worldjockey.integrations.ndi.source import NDISource

    receiver = NDISource(source)
    try:
        receiver.open()
        while not parent_died():
            picture = receiver.read((64, 36))
            if picture is not None:
                saw(middle(picture.mean(-1)) / 255)
    finally:
        receiver.close()


def mpegts(url: str, saw: Saw) -> None:
    """tcp://, udp://, or rtmp:// to listen at; srt:// through the ffmpeg program."""
    if url.startswith("srt:"):
        with _ffmpeg(url) as stream:
            _decode(stream, saw, format="mpegts")
    elif url.startswith("rtmp:"):
        _decode(url, saw, format="flv", options={"listen": "1"})
    else:
        _decode(url, saw, format="mpegts")


@contextlib.contextmanager
def _ffmpeg(url: str) -> Any:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-fflags", "nobuffer", "-analyzeduration", "200000", "-i", url]
    command += ["-c", "copy", "-fflags", "+flush_packets", "-f", "mpegts", "pipe:1"]
    none = subprocess.DEVNULL  # and no buffer, which would wait until it is full
    process = subprocess.Popen(command, stdin=none, stdout=subprocess.PIPE, stderr=none, bufsize=0)
    try:
        yield process.stdout
    finally:
        process.kill()
        process.wait()


class Growing:
    """A file that is still being written, as something that waits for its end to move on."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        while not (data := self._file.read(size) or b""):
            if parent_died():
                return b""
            time.sleep(0.005)
        return data


def recording(path: str, saw: Saw) -> None:
    """A recording in MPEG-TS, as it grows."""
    with Path(path).open("rb", buffering=0) as file:
        _decode(Growing(file), saw, format="mpegts")


def _decode(file: Any, saw: Saw, format: str, options: dict[str, str] | None = None) -> None:
    quick = {"fflags": "nobuffer", "probesize": "200000", "analyzeduration": "200000", **(options or {})}
    with av.open(file, format=format, options=quick, timeout=PATIENCE if isinstance(file, str) else None) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # threads would each hold a picture back
        for frame in container.decode(stream):
            saw(luma(frame))
            if parent_died():
                return


def mjpeg(url: str, saw: Saw) -> None:
    """Reads multipart/x-mixed-replace by its parts' lengths."""
    at = urlsplit(url)
    line = http.client.HTTPConnection(at.hostname or "", at.port, timeout=PATIENCE)
    with contextlib.closing(line):
        line.request("GET", at.path)
        answer = line.getresponse()
        decoder: Any = av.CodecContext.create("mjpeg", "r")
        while not parent_died():
            length = 0
            while (row := answer.readline().strip()) or not length:
                if not row and answer.isclosed():
                    raise OSError("the stream ended")
                if row.lower().startswith(b"content-length:"):
                    length = int(row.partition(b":")[2])
            for frame in decoder.decode(av.Packet(answer.read(length))):
                saw(luma(frame))


def webrtc(url: str, saw: Saw) -> None:
    """WHEP by aiortc, as a browser does it."""
    asyncio.run(_webrtc(url, saw))


async def _webrtc(url: str, saw: Saw) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection
    from worldjockey.integrations.web.webrtc import listen_on

    listen_on("127.0.0.1")  # the loopback, which aioice leaves out
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue[Any] = asyncio.Queue()
    peer.on("track", tracks.put_nowait)
    try:
        await whep(peer, url, "video")
        track = await asyncio.wait_for(tracks.get(), PATIENCE)
        while not parent_died():
            saw(luma(await asyncio.wait_for(track.recv(), PATIENCE)))
    finally:
        await peer.close()


async def whep(peer: Any, url: str, *kinds: str) -> str:
    """Ask for "video", "audio" or both by a connection of aiortc; the answer, as SDP."""
    from aiortc import RTCSessionDescription

    for kind in kinds:
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp.encode()
    request = urllib.request.Request(url, offer, {"Content-Type": "application/sdp"})
    answer = (await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=PATIENCE).read())).decode()
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return answer


def screen(place: str, saw: Saw, rate: int = 200) -> None:
    """What an X display shows at "DISPLAY+x,y". Says it as often as the picture there changes. rate: looks a second."""
    looks = {"video_size": "32x18", "framerate": str(rate), "draw_mouse": "0"}
    with av.open(place, format="x11grab", options=looks) as container:
        last = -1.0
        for frame in container.decode(video=0):
            light = float(frame.to_ndarray(format="gray").mean()) / 255
            if abs(light - last) > 0.01:
                last = light
                saw(light)
            if parent_died():
                return


def camera(name: str, saw: Saw) -> None:
    """A camera by its path or a part of its name."""
    from worldjockey.integrations.camera import VideoSource

    source = VideoSource(camera=name)
    try:
        source.open()
        while not parent_died():
            picture = source.read((64, 36))
            if picture is not None:
                saw(middle(picture.mean(-1)) / 255)
    finally:
        source.close()


KINDS: dict[str, Callable[[str, Saw], None]] = {
    "ndi": ndi, "mpegts": mpegts, "recording": recording, "mjpeg": mjpeg, "webrtc": webrtc, "screen": screen,
    "glance": partial(screen, rate=10), "camera": camera,
}  # fmt: skip


def _watch(kind: str, address: str, pipe: Any) -> None:
    init_child()
    sys.stderr = io.StringIO()  # who finds nobody says so again and again
    av.logging.set_level(av.logging.PANIC)
    last = ""

    def saw(light: float) -> None:
        pipe.send((time.monotonic(), light))

    while not parent_died():
        try:
            KINDS[kind](address, saw)
        except BrokenPipeError:
            return
        except Exception as error:  # whatever a sender does: it may be there in a moment
            words = f"{type(error).__name__}: {error}"
            if words != last:
                last = words
                with contextlib.suppress(OSError):
                    pipe.send(words)
        time.sleep(AGAIN)


class Receiver:
    """One who watches. `seen` grows by (time.monotonic(), lightness) for each picture; `error`: why none came last."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind, self.address = kind, address
        self.seen: list[tuple[float, float]] = []
        self.error = ""
        self._pipe, theirs = SPAWN.Pipe(duplex=False)
        self._process = SPAWN.Process(
            target=_watch, args=(kind, address, theirs), daemon=True, name=f"wj bench {kind} receiver"
        )
        self._process.start()
        theirs.close()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        return int(self._process.pid or 0)

    def kill(self) -> None:
        """As a program that crashes."""
        self._process.kill()
        self._process.join()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                said = self._pipe.recv()
                if isinstance(said, str):
                    self.error = said
                else:
                    self.seen.append(said)
