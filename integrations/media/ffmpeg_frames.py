"""FFmpeg's frames, of our pixels without a copy."""

from __future__ import annotations

import av
import numpy as np

from .. import Pixels


def planar(pixels: Pixels) -> av.VideoFrame:
    """A yuv420p frame (h * 3 / 2, w) without a copy: the pixels must not change while the frame is used."""
    if pixels.shape[0] % 6 or not pixels.flags.c_contiguous:  # PyAV computes a wrong size for others
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="yuv420p")
    return av.VideoFrame.from_numpy_buffer(pixels, format="yuv420p")
