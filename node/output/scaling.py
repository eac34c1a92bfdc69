"""From the program's frame to the pixels that an output needs: scaling, and the layout in memory."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from worldjockey.integrations import Layout

from ..ipc.frame_ring import Pixels

# By default PyAV 17 scales in a pool of threads. On a busy machine that pool is late, and so is the frame.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
LANCZOS = int(Interpolation.LANCZOS) | 0x40000  # SWS_ACCURATE_RND: without it greys come out tinted


PACKED = {"rgba": "rgba", "bgrx": "bgra"}  # the names of packed layouts in swscale


def fit(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int]:
    """The largest (width, height) of the same aspect ratio that fits, in even numbers (chroma planes are halved)."""
    scale = min(into_width / width, into_height / height)
    w, h = round(width * scale / 2) * 2, round(height * scale / 2) * 2
    return min(max(w, 2), into_width), min(max(h, 2), into_height)


class Scaler:
    """Scales RGB to one layout at the show's size: Lanczos in 4:2:2 planes (BT.709), which is swscale's fastest way.

    On the way to rgba and bgrx the planes are full range, which loses at most 3 levels of a colour and none of a grey;
    limited range would lose up to 5. Only uyva carries alpha; a frame without alpha is opaque there. A frame of
    another aspect ratio than the show's is fitted, with black bars.
    """

    def __init__(self, layout: Layout, width: int, height: int) -> None:
        self.layout, self.width, self.height = layout, width, height
        self._scale, self._pack, self._matte = VideoReformatter(), VideoReformatter(), VideoReformatter()

    def into(self, frame: Pixels, out: Pixels) -> None:
        """frame (h, w, 3) RGB or (h, w, 4) RGBA -> out, of `shape_of(layout, ...)`, written in place."""
        h, w = frame.shape[:2]
        wide, tall = fit(w, h, self.width, self.height)
        planes = "yuv420p" if self.layout == "yuv420p" else "yuv422p"
        levels = ColorRange.JPEG if self.layout in PACKED else ColorRange.MPEG
        scaled = self._scale.reformat(
            av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame[..., :3]), format="rgb24"), wide, tall, planes,
            dst_colorspace=Colorspace.ITU709, dst_color_range=levels, interpolation=LANCZOS, **ONE_THREAD,
        )  # fmt: skip
        top, left = (self.height - tall) // 4 * 2, (self.width - wide) // 4 * 2
        if self.layout == "yuv420p":
            self._place_planes(scaled, out, top, left)
            return
        if self.layout == "uyva":
            self._place_alpha(frame, out[self.height :].reshape(self.height, self.width), top, left, tall, wide)
            out = out[: self.height]
        packed = self._pack.reformat(
            scaled, format=PACKED.get(self.layout, "uyvy422"),
            src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU709,
            src_color_range=levels, dst_color_range=levels, **ONE_THREAD,
        )  # fmt: skip
        channels = out.shape[2]
        rows = _rows(packed.planes[0])[:tall, : wide * channels]
        out[top : top + tall, left : left + wide] = rows.reshape(tall, wide, channels)
        black = np.array((0, 0, 0, 255) if channels == 4 else (128, 16), np.uint8)
        whole = np.uint32 if channels == 4 else np.uint16  # whole pixels: numpy would repeat a colour byte by byte
        _surround(out.view(whole)[..., 0], black.view(whole)[0], top, left, tall, wide)

    def _place_alpha(self, frame: Pixels, out: Pixels, top: int, left: int, tall: int, wide: int) -> None:
        """Write the frame's alpha; the bars around it are transparent."""
        if frame.shape[2] == 4:
            alpha = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame[..., 3]), format="gray")
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
    """Fill the bars around a frame of (tall, wide) at (top, left) of `out`, and nothing of the frame itself."""
    out[:top] = out[top + tall :] = black
    out[top : top + tall, :left] = out[top : top + tall, left + wide :] = black


def _rows(plane: Any) -> Pixels:
    """One of swscale's planes with its padding, (rows, bytes a row)."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
