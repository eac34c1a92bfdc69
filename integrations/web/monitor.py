"""The monitor: one bus of a show for the surface, at the world's own size, encoded only while somebody watches.

It serves the same routes as the browser output (`server`), on a free port of this machine; the surface's server passes
them on to its pages. WebRTC sends frames to the pages directly.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import Frame, Layout, Patch, Pixels
from .output import WebOutput

if TYPE_CHECKING:
    from .server import Server

FPS_MAX = 20
LOOPBACK = "127.0.0.1"


class MonitorOutput(WebOutput):
    """`send` takes frames of any size, which may change while viewers watch.

    media_host: the address that frames are sent from by WebRTC: 127.0.0.1 reaches browsers of this machine only;
    0.0.0.0 reaches the network too.
    """

    layout: Layout = "native"
    background = True
    copies = ("into 4:2:0 planes, for all viewers",)

    def __init__(self, media_host: str = LOOPBACK) -> None:
        super().__init__()
        self._media_host = media_host
        self._next = 0.0  # time.monotonic() before which no frame is encoded
        self._planes: Any = None  # converts to yuv420p
        self._patches: Sequence[Patch] = ()
        self._light = 1.0
        self._scaled: tuple[Any, ...] = ()  # what the images in `_images` were made for
        self._images: list[tuple[Any, tuple[int, int]]] = []  # the patches at the frames' size, and where they lie

    def _serve(self, server: type[Server]) -> Coroutine[Any, Any, Server]:
        return server.start(self._fmt, LOOPBACK, 0, media_host=self._media_host)

    @property
    def _place(self) -> str:
        return f"{LOOPBACK}, on a port that the system chooses"

    @property
    def wants_pixels(self) -> bool:
        return self._server is not None and self._server.feeds.watched

    def send(self, frame: Frame) -> None:
        assert self._server is not None
        feeds = self._server.feeds
        if not feeds.watched or frame.time < self._next:
            return
        self._next = max(self._next + 1 / FPS_MAX, frame.time - 1 / FPS_MAX)
        feeds.send(self._converted(self._overlaid(frame.pixels)), frame.time, copy=False)

    def set_overlay(self, patches: Sequence[Patch], light: float) -> None:
        self._patches, self._light = patches, light

    def _overlaid(self, pixels: Pixels) -> Pixels:
        """The frame with the patches over it, which are scaled down to its size."""
        if not self._patches or self._light <= 0:
            return pixels
        from PIL import Image

        height, width = pixels.shape[:2]
        if self._scaled != (made_for := (self._patches, self._light, width, height)):
            self._scaled, self._images = made_for, []
            across, down = width / self._fmt.width, height / self._fmt.height
            for patch in self._patches:
                h, w = patch.rgba.shape[:2]
                size = max(round(w * across), 1), max(round(h * down), 1)
                image = Image.fromarray(patch.rgba).resize(size, Image.Resampling.BOX)
                image.putalpha(image.getchannel("A").point(lambda level: round(level * self._light)))
                self._images.append((image, (round(patch.x * across), round(patch.y * down))))
        frame = Image.fromarray(pixels)
        for image, place in self._images:
            frame.paste(image, place, image)
        return np.asarray(frame)

    def _converted(self, pixels: Pixels) -> Pixels:
        """(h, w, 3) RGB -> yuv420p (h * 3 / 2, w), BT.709 limited range; an odd row or column is left out."""
        import av
        from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

        from .video import ONE_THREAD

        if self._planes is None:
            self._planes = VideoReformatter()
        height, width = (size // 2 * 2 for size in pixels.shape[:2])
        rgb = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        rgb.time_base = Fraction(1, FPS_MAX)
        planes = self._planes.reformat(
            rgb, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, **ONE_THREAD
        )
        found: Pixels = planes.to_ndarray()
        return found
