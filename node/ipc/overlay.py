"""What lies over the picture, from the process that draws it to the clock and the outputs."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from worldjockey.integrations import Patch

from .cell import Cell

WANTED_BYTES = 16 * 1024
PATCHES_MAX = 4
_PATCH = struct.Struct("<HHHH")  # x, y, width, height


@dataclass(frozen=True)
class OverlayLine:
    """wanted: what is to be drawn, as JSON, written by control. patches: the drawn patches."""

    wanted: Cell
    patches: Cell

    @classmethod
    def of(cls, width: int, height: int) -> OverlayLine:
        """For a show of this size. Patches fit as long as they do not overlap."""
        return cls(Cell(WANTED_BYTES), Cell(PATCHES_MAX * _PATCH.size + width * height * 4))

    def want(self, overlay: Mapping[str, Any]) -> None:
        self.wanted.write(json.dumps(overlay).encode())

    @property
    def cells(self) -> list[Cell]:
        return [self.wanted, self.patches]


class OverlayReader:
    """The newest patches of one reader."""

    def __init__(self, line: OverlayLine | None) -> None:
        self._line, self._version = line, 0
        self.patches: tuple[Patch, ...] = ()

    def refresh(self) -> bool:
        """Whether the patches changed."""
        if self._line is None or self._line.patches.version == self._version:
            return False
        self._version, data = self._line.patches.read()
        before, self.patches = self.patches, unpacked_patches(data)
        return bool(before or self.patches)


def fits(patch: Patch, width: int, height: int) -> bool:
    """Whether all of a patch lies inside a frame of this size."""
    tall, wide = patch.rgba.shape[:2]
    return 0 <= patch.x <= width - wide and 0 <= patch.y <= height - tall


def packed_patches(patches: Sequence[Patch]) -> bytes:
    parts = []
    for patch in patches:
        height, width = patch.rgba.shape[:2]
        parts += [_PATCH.pack(patch.x, patch.y, width, height), patch.rgba.tobytes()]
    return b"".join(parts)


def unpacked_patches(data: bytes) -> tuple[Patch, ...]:
    patches, at = [], 0
    while at < len(data):
        x, y, width, height = _PATCH.unpack_from(data, at)
        at += _PATCH.size
        rgba = np.frombuffer(data, np.uint8, height * width * 4, at).reshape(height, width, 4)
        patches.append(Patch(rgba, x, y))
        at += rgba.nbytes
    return tuple(patches)
