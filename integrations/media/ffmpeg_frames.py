"""Pictures as ffmpeg takes and gives them: ours without a copy, others' cut and scaled to the size that is wanted."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from .. import Pixels

ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
EXACT = int(Interpolation.BICUBIC) | 0x40000 | 0x2000  # SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT: greys come out 2 off else


def cover(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int]:
    """The smallest size of the same shape that leaves nothing of the other empty."""
    scale = max(into_width / width, into_height / height)
    return max(round(width * scale), into_width), max(round(height * scale), into_height)


def planar(pixels: Pixels) -> av.VideoFrame:
    """A yuv420p picture (h * 3 / 2, w) where it lies: it has to stay as it is for as long as the frame is used."""
    if pixels.shape[0] % 6 or not pixels.flags.c_contiguous:  # PyAV takes others for shorter than they are
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="yuv420p")
    return av.VideoFrame.from_numpy_buffer(pixels, format="yuv420p")


class Framing:
    """Fills a size with the middle of a picture, from any of ffmpeg's pixel formats."""

    def __init__(self) -> None:
        self._scale = VideoReformatter()

    def rgb(self, frame: av.VideoFrame, size: tuple[int, int], **colour: Any) -> Pixels:
        """size: (width, height). colour: src_colorspace and src_color_range where the frame does not say them itself.
        Returns (height, width, 3)."""
        width, height = size
        wide, tall = cover(frame.width, frame.height, width, height)
        scaled = self._scale.reformat(frame, wide, tall, "rgb24", interpolation=EXACT, **colour, **ONE_THREAD)
        left, top = (wide - width) // 2, (tall - height) // 2
        return np.ascontiguousarray(scaled.to_ndarray()[top : top + height, left : left + width])
