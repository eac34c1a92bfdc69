"""Blends what lies over the picture into frames at the show's size. Only the patches' own pixels are touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from worldjockey.integrations import Layout, Patch

from ..ipc.frame_ring import Pixels
from ..ipc.overlay import fits
from .layouts import shape_of
from .scaling import Scaler

Wide = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class _Part:
    """A patch in one plane of a frame. values: (h, w, channels). opacity: (h, w, 1), 0..256. weighted, rest: both
    multiplied, and what is left for the frame. covered: the rows that hide all of it, which are copied."""

    plane: int
    top: int
    left: int
    values: Wide
    opacity: Wide
    weighted: Wide
    rest: Wide
    covered: slice
    copied: Pixels

    @classmethod
    def of(cls, plane: int, top: int, left: int, pixels: Pixels, opacity: Wide) -> _Part:
        values = pixels.astype(np.uint16)
        open_rows = np.flatnonzero((opacity < 256).any((1, 2)))
        edges = np.concatenate([[-1], open_rows, [len(pixels)]])
        widest = int(np.diff(edges).argmax())  # the longest run of rows without an open one
        covered = slice(int(edges[widest]) + 1, int(edges[widest + 1]))
        return cls(plane, top, left, values, opacity, values * opacity, 256 - opacity, covered, pixels[covered].copy())

    def into(self, under: Pixels, light: float) -> None:
        """under: the frame's own pixels below the patch, changed in place."""
        if light < 1:
            opacity = (self.opacity * light).astype(np.uint16)
            under[:] = (under * (256 - opacity) + self.values * opacity) >> 8
            return
        under[self.covered] = self.copied
        for rows in (slice(0, self.covered.start), slice(self.covered.stop, len(under))):
            mixed = np.multiply(under[rows], self.rest[rows], dtype=np.uint16)
            mixed += self.weighted[rows]
            mixed >>= 8
            under[rows] = mixed


class Blender:
    """Patches, converted once to the layout of the frames that they are blended into."""

    def __init__(self, layout: Layout, width: int, height: int) -> None:
        self._layout, self._width, self._height = layout, width, height
        self._parts: list[_Part] = []

    def take(self, patches: Sequence[Patch]) -> None:
        """Blend these from now on."""
        inside = [patch for patch in patches if fits(patch, self._width, self._height)]
        self._parts = [part for patch in inside for part in self._converted(patch)]

    def into(self, frame: Pixels, light: float = 1.0) -> None:
        """Blend the patches into a frame of `shape_of(layout, ...)`, in place. light: 0 to 1, as much of them shows."""
        if not self._parts or light <= 0:
            return
        planes = planes_of(frame, self._layout, self._width, self._height)
        for part in self._parts:
            height, width = part.values.shape[:2]
            part.into(planes[part.plane][part.top : part.top + height, part.left : part.left + width], light)

    def _converted(self, patch: Patch) -> list[_Part]:
        height, width = patch.rgba.shape[:2]
        own = np.empty(shape_of(self._layout, width, height), np.uint8)
        Scaler(self._layout, width, height).into(patch.rgba[..., :3], own)
        opacity = patch.rgba[..., 3:].astype(np.uint16)
        opacity += opacity >> 7  # 255 is the whole: 256
        parts = []
        for n, plane in enumerate(planes_of(own, self._layout, width, height)):
            step = height // plane.shape[0]  # 2 for the planes of halved chroma
            parts.append(_Part.of(n, patch.y // step, patch.x // step, plane, opacity[::step, ::step]))
        return parts


def planes_of(frame: Pixels, layout: Layout, width: int, height: int) -> list[Pixels]:
    """Views of a frame's planes, each (rows, columns, channels)."""
    if layout == "uyva":
        return [frame[:height], frame[height:].reshape(height, width, 1)]
    if layout == "yuv420p":
        flat, half, quarter = frame.reshape(-1), (height // 2, width // 2, 1), width * height // 4
        at = width * height
        return [
            flat[:at].reshape(height, width, 1), flat[at : at + quarter].reshape(half),
            flat[at + quarter :].reshape(half),
        ]  # fmt: skip
    return [frame]
