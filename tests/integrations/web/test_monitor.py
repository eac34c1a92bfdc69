"""The monitor: frames of the world's own size for the surface, encoded only while somebody watches."""

from __future__ import annotations

import asyncio
import http.client
import io
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from worldjockey.integrations import Frame, Patch, VideoFormat
from worldjockey.integrations.web import output as web_output
from worldjockey.integrations.web import server
from worldjockey.integrations.web.monitor import FPS_MAX, MonitorOutput
from worldjockey.integrations.web.video import Feed

pytestmark = pytest.mark.slow


class Playing:
    """A monitor that gets frames at 60 a second."""

    def __init__(self) -> None:
        self.colour, self.size, self.sent = (255, 0, 0), (96, 160), 0
        self.output = MonitorOutput()
        self.output.open(VideoFormat(1920, 1080, 60))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._stop.wait(1 / 60):
            self.output.send(Frame(np.full((*self.size, 3), self.colour, np.uint8), self.sent, time.monotonic()))
            self.sent += 1

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.output.status())

    def frame(self) -> Any:
        with urllib.request.urlopen(self.status["url"] + "frame.jpg", timeout=60) as answer:
            return Image.open(io.BytesIO(answer.read())).convert("RGB")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.output.close()


@pytest.fixture
def monitor() -> Iterator[Playing]:
    found = Playing()
    yield found
    found.stop()


def test_a_frame_has_the_worlds_own_size_and_colours(monitor):
    assert monitor.output.layout == "native"
    for size, shown in (((96, 160), (160, 96)), ((121, 65), (64, 120)), ((48, 64), (64, 48))):
        monitor.size, monitor.colour = size, (200, 40, 90)
        frame = monitor.frame()
        while frame.size != shown:
            frame = monitor.frame()
        assert np.abs(np.array(frame, int) - (200, 40, 90)).max() <= 6


def test_what_lies_over_the_picture_is_shown_at_the_frames_size(monitor):
    patch = np.zeros((540, 960, 4), np.uint8)
    patch[:] = (0, 0, 255, 255)
    monitor.output.set_overlay((Patch(patch, 960, 540),), 1.0)  # the bottom right quarter

    def quarters() -> list[tuple[int, ...]]:
        frame = monitor.frame()
        return [frame.getpixel(place) for place in ((20, 20), (140, 20), (20, 80), (140, 80), (90, 54))]

    def near(found: list[tuple[int, ...]], *right: tuple[int, ...]) -> bool:
        return bool(np.abs(np.subtract(found, right)).max() <= 8)

    red, blue = (255, 0, 0), (0, 0, 255)
    while not near(quarters(), red, red, red, blue, blue):
        pass
    monitor.output.set_overlay((Patch(patch, 960, 540),), 0.0)
    while not near(quarters(), red, red, red, red, red):
        pass


def test_a_viewer_stays_connected_when_the_size_changes(monitor):
    with urllib.request.urlopen(monitor.status["url"] + "video.mjpeg", timeout=60) as stream:
        data = b""

        def sizes() -> set[tuple[int, int]]:
            nonlocal data
            data = (data + stream.read1(1 << 16))[-(1 << 20) :]
            parts = [part for part in data.split(b"\r\n\r\n")[1:] if part.startswith(b"\xff\xd8")]
            return {Image.open(io.BytesIO(part)).size for part in parts}

        while (160, 96) not in sizes():
            pass
        monitor.size = (72, 128)
        while (128, 72) not in sizes():
            pass
        assert monitor.status["mjpeg"] == 1


def test_nothing_is_encoded_without_viewers_and_at_most_the_rate_with_them(monitor, wait_for):
    wait_for(lambda: monitor.sent > 30)
    assert not monitor.output.wants_pixels
    assert monitor.status["coded"] == {"H264": 0, "VP8": 0, "JPEG": 0}
    line = http.client.HTTPConnection(monitor.status["url"].split("/")[2], timeout=60)
    line.request("GET", "/video.mjpeg")
    answer = line.getresponse()
    wait_for(lambda: monitor.status["coded"]["JPEG"] > 0)
    assert monitor.output.wants_pixels
    first, began, coded = monitor.sent, time.monotonic(), monitor.status["coded"]["JPEG"]
    wait_for(lambda: monitor.sent > first + 120)
    assert monitor.status["coded"]["JPEG"] - coded <= 1.5 * FPS_MAX * (time.monotonic() - began)
    answer.close()
    line.close()
    wait_for(lambda: not monitor.output.wants_pixels, what="the viewer to be gone")


def test_video_goes_on_in_another_size_with_a_key_frame():
    async def encoded(*sizes: tuple[int, int]) -> list[bytes]:
        feed, found = Feed("H264", VideoFormat(64, 64, 20), asyncio.get_running_loop()), list[bytes]()
        with feed.watched():
            for n, (height, width) in enumerate(sizes):
                feed.send(np.full((height * 3 // 2, width), 100, np.uint8), time.monotonic())
                found.append((await asyncio.wait_for(feed.newest(n), 60)).data)
        feed.close()
        return found

    decoder: Any = av.CodecContext.create("h264", "r")
    packets = asyncio.run(encoded(*[(64, 96)] * 3, *[(128, 160)] * 3, (64, 96)))
    frames = [frame for data in packets for frame in decoder.decode(av.Packet(data))] + list(decoder.decode(None))
    assert [(f.width, f.height) for f in frames] == [(96, 64)] * 3 + [(160, 128)] * 3 + [(96, 64)]


def test_a_start_that_takes_too_long_is_named(monkeypatch: Any) -> None:
    async def stuck(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(server.Server, "start", stuck)
    monkeypatch.setattr(web_output, "START_TIMEOUT_S", 0.05)
    with pytest.raises(OSError, match=r"127\.0\.0\.1, on a port that the system chooses: .* too busy") as raised:
        MonitorOutput().open(VideoFormat(160, 96, 20))
    assert "host must be" not in str(raised.value)
