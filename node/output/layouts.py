"""How one frame of each layout lies in memory, and the rings that carry frames from the clock to the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from worldjockey.integrations import Layout, VideoFormat

from ..ipc.frame_ring import FrameRing

if TYPE_CHECKING:
    from .worker import OutputSpec

# Where `Program`, `Scaler` and `FrameRing` copy a whole frame in the clock's process. Steps that compute new pixels do
# not count as copies.
COPIES = {
    "native": ("the world's frame out of its ring", "the world's frame into the outputs' ring"),
    "scaled": ("the world's frame out of its ring", "the result into the outputs' ring"),
}


def shape_of(layout: Layout, width: int, height: int) -> tuple[int, int, int]:
    """(rows, columns, channels) of one frame of that layout at the show's size."""
    match layout:
        case "rgba" | "bgrx":
            return height, width, 4
        case "uyvy":
            return height, width, 2
        case "uyva":
            return height * 3 // 2, width, 2
        case "yuv420p":
            return height * 3 // 2, width, 1
        case _:
            return height, width, 3


def rings_for(specs: Sequence[OutputSpec], fmt: VideoFormat, native_bytes: int) -> dict[Layout, FrameRing]:
    """One ring for each layout in use, shared by all outputs of that layout."""
    rings: dict[Layout, FrameRing] = {}
    for layout in {s.layout for s in specs}:
        slots = 5 + max(s.holds for s in specs if s.layout == layout)
        size = native_bytes if layout == "native" else int(np.prod(shape_of(layout, fmt.width, fmt.height)))
        rings[layout] = FrameRing(size, slots)
    return rings
