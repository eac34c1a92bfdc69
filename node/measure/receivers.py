"""A receiver for each output, which reports when a frame arrived and the lightness of its centre.

Each runs in a process of its own, reconnects for as long as there is no sender, and can be killed or frozen at any
time.
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

OnFrame = Callable[[float], None]  # called with the lightness of the frame's centre, 0 black to 1 white
RETRY_INTERVAL_S = 0.1
TIMEOUT_S = 10.0  # without data, after which the sender counts as gone


def middle(plane: Any, columns: int | None = None) -> float:
    """Mean of a frame's centre. plane: of PyAV, or an array; columns: width without padding."""
    rows = plane if isinstance(plane, np.ndarray) else np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    height, width = rows.shape[0], columns or rows.shape[1]
    return float(rows[height * 7 // 16 : height * 9 // 16 + 1, width * 7 // 16 : width * 9 // 16 + 1].mean())


def luma(frame: av.VideoFrame) -> float:
    """Lightness of a frame whose first plane is Y', in the range that it declares."""
    value = middle(frame.planes[0], frame.width)
    full = frame.format.name.startswith("yuvj") or int(frame.color_range) == int(av.video.reformatter.ColorRange.JPEG)
    return value / 255 if full else (value - 16) / 219


def ndi(source: str, on_frame: OnFrame) -> None:
    """source: part of an NDI source's name. Each frame is scaled to a few pixels."""
    from worldjockey.integrations.ndi.source import NDISource

    receiver = NDISource(source)
    try:
        receiver.open()
        while not parent_died():
            frame = receiver.read((64, 36))
            if frame is not None:
                on_frame(middle(frame.mean(-1)) / 255)
    finally:
        receiver.close()


def mpegts(url: str, on_frame: OnFrame) -> None:
    """url: tcp://, udp://, or rtmp:// to listen on; srt:// is received by the ffmpeg program."""
    if url.startswith("srt:"):
        with _ffmpeg(url) as stream:
            _decode(stream, on_frame, format="mpegts")
    elif url.startswith("rtmp:"):
        _decode(url, on_frame, format="flv", options={"listen": "1"})
    else:
        _decode(url, on_frame, format="mpegts")


@contextlib.contextmanager
def _ffmpeg(url: str) -> Any:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-fflags", "nobuffer", "-analyzeduration", "200000", "-i", url]
    command += ["-c", "copy", "-fflags", "+flush_packets", "-f", "mpegts", "pipe:1"]
    none = subprocess.DEVNULL  # below: no buffer, which would be read only when full
    process = subprocess.Popen(command, stdin=none, stdout=subprocess.PIPE, stderr=none, bufsize=0)
    try:
        yield process.stdout
    finally:
        process.kill()
        process.wait()


class Growing:
    """A file that is still being written: reading waits at its end for more data."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        while not (data := self._file.read(size) or b""):
            if parent_died():
                return b""
            time.sleep(0.005)
        return data


def recording(path: str, on_frame: OnFrame) -> None:
    """Read an MPEG-TS recording while it is written."""
    with Path(path).open("rb", buffering=0) as file:
        _decode(Growing(file), on_frame, format="mpegts")


def _decode(file: Any, on_frame: OnFrame, format: str, options: dict[str, str] | None = None) -> None:
    quick = {"fflags": "nobuffer", "probesize": "200000", "analyzeduration": "200000", **(options or {})}
    with av.open(file, format=format, options=quick, timeout=TIMEOUT_S if isinstance(file, str) else None) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # each thread would delay by a frame
        for frame in container.decode(stream):
            on_frame(luma(frame))
            if parent_died():
                return


def mjpeg(url: str, on_frame: OnFrame) -> None:
    """Read multipart/x-mixed-replace by the lengths of its parts."""
    at = urlsplit(url)
    line = http.client.HTTPConnection(at.hostname or "", at.port, timeout=TIMEOUT_S)
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
                on_frame(luma(frame))


def webrtc(url: str, on_frame: OnFrame) -> None:
    """Receive WebRTC with WHEP (aiortc), like a browser."""
    asyncio.run(_webrtc(url, on_frame))


async def _webrtc(url: str, on_frame: OnFrame) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection
    from worldjockey.integrations.web.webrtc import listen_on

    listen_on("127.0.0.1")  # the loopback, which aioice leaves out
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue[Any] = asyncio.Queue()
    peer.on("track", tracks.put_nowait)
    try:
        await whep(peer, url, "video")
        track = await asyncio.wait_for(tracks.get(), TIMEOUT_S)
        while not parent_died():
            on_frame(luma(await asyncio.wait_for(track.recv(), TIMEOUT_S)))
    finally:
        await peer.close()


async def whep(peer: Any, url: str, *kinds: str) -> str:
    """Request "video", "audio" or both for a connection of aiortc; returns the answer as SDP."""
    from aiortc import RTCSessionDescription

    for kind in kinds:
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp.encode()
    request = urllib.request.Request(url, offer, {"Content-Type": "application/sdp"})
    answer = (await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=TIMEOUT_S).read())).decode()
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return answer


def screen(grab_area: str, on_frame: OnFrame, rate: int = 200) -> None:
    """Capture an X display at "DISPLAY+x,y"; reports changes only. rate: captures a second."""
    options = {"video_size": "32x18", "framerate": str(rate), "draw_mouse": "0"}
    with av.open(grab_area, format="x11grab", options=options) as container:
        last = -1.0
        for frame in container.decode(video=0):
            lightness = float(frame.to_ndarray(format="gray").mean()) / 255
            if abs(lightness - last) > 0.01:
                last = lightness
                on_frame(lightness)
            if parent_died():
                return


def camera(name: str, on_frame: OnFrame) -> None:
    """Receive from a camera by its path or a part of its name."""
    from worldjockey.integrations.camera import VideoSource

    source = VideoSource(camera=name)
    try:
        source.open()
        while not parent_died():
            frame = source.read((64, 36))
            if frame is not None:
                on_frame(middle(frame.mean(-1)) / 255)
    finally:
        source.close()


def lights(universe: str, on_frame: OnFrame) -> None:
    """Receive sACN on the loopback. Reports the mean of the first light's red, green and blue, where they change."""
    import sacn

    receiver = sacn.sACNreceiver(bind_address="127.0.0.1")
    receiver.register_listener(
        "universe", lambda packet: on_frame(sum(packet.dmxData[:3]) / 765), universe=int(universe)
    )
    receiver.start()
    try:
        while not parent_died():
            time.sleep(RETRY_INTERVAL_S)
    finally:
        receiver.stop()


KINDS: dict[str, Callable[[str, OnFrame], None]] = {
    "ndi": ndi, "mpegts": mpegts, "recording": recording, "mjpeg": mjpeg, "webrtc": webrtc, "screen": screen,
    "glance": partial(screen, rate=10), "camera": camera, "lights": lights,
}  # fmt: skip


def _watch(kind: str, address: str, pipe: Any) -> None:
    init_child()
    sys.stderr = io.StringIO()  # failed connections print errors at each attempt
    av.logging.set_level(av.logging.PANIC)
    last = ""

    def on_frame(lightness: float) -> None:
        pipe.send((time.monotonic(), lightness))

    while not parent_died():
        try:
            KINDS[kind](address, on_frame)
        except BrokenPipeError:
            return
        except Exception as error:  # any error: the sender may be there a moment later
            message = f"{type(error).__name__}: {error}"
            if message != last:
                last = message
                with contextlib.suppress(OSError):
                    pipe.send(message)
        time.sleep(RETRY_INTERVAL_S)


class Receiver:
    """A receiver. `seen` grows by (time.monotonic(), lightness) for each frame; `error` is the last reason for none."""

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
        """Kill it, like a program that crashes."""
        self._process.kill()
        self._process.join()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                message = self._pipe.recv()
                if isinstance(message, str):
                    self.error = message
                else:
                    self.seen.append(message)
