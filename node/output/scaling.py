"""From the program to what an output wants: scaling, and the layout of pixels."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from worldjockey.integrations import Layout

from ..ipc.frame_ring import Pixels

# PyAV 17 scales in a pool of threads unless told not to. On a busy machine that pool is late, and so is the picture.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
LANCZOS = int(Interpolation.LANCZOS) | 0x40000  # SWS_ACCURATE_RND: without it greys come out tinted


PACKED = {"rgba": "rgba", "bgrx": "bgra"}  # what swscale calls them


def fit(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int]:
    """The largest size of the same shape that fits, in even numbers (chroma planes are halved)."""
    scale = min(into_width / width, into_height / height)
    w, h = round(width * scale / 2) * 2, round(height * scale / 2) * 2
    return min(max(w, 2), into_width), min(max(h, 2), into_height)


class Scaler:
    """Scales RGB to one layout at the show's size: Lanczos in 4:2:2 planes, which swscale does fastest (BT.709).

    On the way to rgba and bgrx the planes are full range: 8 bits of limited range lose up to 5 levels of a colour,
    these 3, and greys come back exactly. Alpha goes into uyva alone; a picture without any is opaque there. A picture
    of another shape than the show's is fitted, with black beside it.
    """

    def __init__(self, layout: Layout, width: int, height: int) -> None:
        self.layout, self.width, self.height = layout, width, height
        self._scale, self._pack, self._matte = VideoReformatter(), VideoReformatter(), VideoReformatter()

    def into(self, picture: Pixels, out: Pixels) -> None:
        """picture (h, w, 3) RGB or (h, w, 4) RGBA -> out of `shape_of(layout, ...)`, written in place."""
        h, w = picture.shape[:2]
        wide, tall = fit(w, h, self.width, self.height)
        planes = "yuv420p" if self.layout == "yuv420p" else "yuv422p"
        levels = ColorRange.JPEG if self.layout in PACKED else ColorRange.MPEG
        frame = self._scale.reformat(
            av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture[..., :3]), format="rgb24"), wide, tall, planes,
            dst_colorspace=Colorspace.ITU709, dst_color_range=levels, interpolation=LANCZOS, **ONE_THREAD,
        )  # fmt: skip
        top, left = (self.height - tall) // 4 * 2, (self.width - wide) // 4 * 2
        if self.layout == "yuv420p":
            self._place_planes(frame, out, top, left)
            return
        if self.layout == "uyva":
            self._place_alpha(picture, out[self.height :].reshape(self.height, self.width), top, left, tall, wide)
            out = out[: self.height]
        packed = self._pack.reformat(
            frame, format=PACKED.get(self.layout, "uyvy422"),
            src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU709,
            src_color_range=levels, dst_color_range=levels, **ONE_THREAD,
        )  # fmt: skip
        channels = out.shape[2]
        rows = _rows(packed.planes[0])[:tall, : wide * channels]
        out[top : top + tall, left : left + wide] = rows.reshape(tall, wide, channels)
        black = np.array((0, 0, 0, 255) if channels == 4 else (128, 16), np.uint8)
        whole = np.uint32 if channels == 4 else np.uint16  # a pixel at once: numpy repeats a colour byte by byte
        _surround(out.view(whole)[..., 0], black.view(whole)[0], top, left, tall, wide)

    def _place_alpha(self, picture: Pixels, out: Pixels, top: int, left: int, tall: int, wide: int) -> None:
        """What lies around the picture is transparent."""
        if picture.shape[2] == 4:
            alpha = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture[..., 3]), format="gray")
            scaled = self._matte.reformat(alpha, wide, tall, interpolation=Interpolation.BICUBIC, **ONE_THREAD)
            out[top : top + tall, left : left + wide] = _rows(scaled.planes[0])[:tall, :wide]
        else:
            out[top : top + tall, left : left + wide] = 255
        _surround(out, 0, top, left, tall, wide)

    def _place_planes(self, frame: av.VideoFrame, out: Pixels, top: int, left: int) -> None:
        flat, at = out.reshape(-1), 0
        for i, plane in enumerate(frame.planes):
            half = 1 + (i > 0)
            h, w = self.height // half, self.width // half
            target = flat[at : at + h * w].reshape(h, w)
            at += h * w
            y, x = top // half, left // half
            target[y : y + plane.height, x : x + plane.width] = _rows(plane)[: plane.height, : plane.width]
            _surround(target, 16 if i == 0 else 128, y, x, plane.height, plane.width)


def _surround(out: Any, black: int, top: int, left: int, tall: int, wide: int) -> None:
    """Fills what lies around a picture of (tall, wide) and nothing of it; where it fills `out`, that is nothing."""
    out[:top] = out[top + tall :] = black
    out[top : top + tall, :left] = out[top : top + tall, left + wide :] = black


def _rows(plane: Any) -> Pixels:
    """A plane of swscale's with its padding, (rows, bytes a row)."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
