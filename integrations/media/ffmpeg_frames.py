"""FFmpeg frames: from our pixels without a copy, and to our pixels, cropped and scaled."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from .. import Pixels

ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
EXACT_SCALING = (
    int(Interpolation.BICUBIC) | 0x40000 | 0x2000
)  # SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT: else greys are off by 2


def cover(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int]:
    """The smallest size of the same aspect ratio that covers the other."""
    scale = max(into_width / width, into_height / height)
    return max(round(width * scale), into_width), max(round(height * scale), into_height)


def planar(pixels: Pixels) -> av.VideoFrame:
    """A yuv420p frame (h * 3 / 2, w) without a copy: the pixels must not change while the frame is used."""
    if pixels.shape[0] % 6 or not pixels.flags.c_contiguous:  # PyAV computes a wrong size for others
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="yuv420p")
    return av.VideoFrame.from_numpy_buffer(pixels, format="yuv420p")


class Framing:
    """Scales and crops frames of any pixel format to a size, keeping their centre."""

    def __init__(self) -> None:
        self._scale = VideoReformatter()

    def rgb(self, frame: av.VideoFrame, size: tuple[int, int], **colour: Any) -> Pixels:
        """size: (width, height). colour: src_colorspace and src_color_range where the frame does not declare them.
        Returns (height, width, 3)."""
        width, height = size
        wide, tall = cover(frame.width, frame.height, width, height)
        scaled = self._scale.reformat(frame, wide, tall, "rgb24", interpolation=EXACT_SCALING, **colour, **ONE_THREAD)
        left, top = (wide - width) // 2, (tall - height) // 2
        return np.ascontiguousarray(scaled.to_ndarray()[top : top + height, left : left + width])
