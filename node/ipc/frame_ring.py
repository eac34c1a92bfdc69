"""Frames between processes: a ring in shared memory whose newest frame wins."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cell import COUNTER_BYTES, count, set_count

Pixels = NDArray[np.uint8]
_SLOT = struct.Struct(
    "<QIIIHHddd"
)  # number, height, width, channels, FrameInfo's memory and slot on a card, FrameInfo's times


@dataclass(frozen=True)
class FrameInfo:
    """made: time.monotonic() when the frame was finished. newest_control_at: arrival time of the newest control that
    the frame obeys, 0 for none. span: seconds until the next frame is expected. memory, slot: number of the graphics
    card's memory that also holds the frame, and the slot in it; memory is 0 where none does."""

    made: float = 0.0
    newest_control_at: float = 0.0
    span: float = 0.0
    memory: int = 0
    slot: int = 0


class FrameRing:
    """`slots` frames of up to `size` bytes. One writer, any number of readers, no lock.

    The newest `slots - 2` frames can be used without a copy: the writer only touches the slot after the oldest.
    """

    def __init__(self, size: int, slots: int, _name: str | None = None) -> None:
        self.size, self.slots = size, slots
        self._head = COUNTER_BYTES + slots * _SLOT.size
        self._memory = SharedMemory(_name, create=_name is None, size=self._head + slots * size)
        self._buffer: Any = self._memory.buf

    def __reduce__(self) -> tuple[type[FrameRing], tuple[int, int, str]]:
        return FrameRing, (self.size, self.slots, self._memory.name)

    @property
    def newest(self) -> int:
        """Number of the newest frame, counted from 1; 0 before the first."""
        return count(self._buffer)

    def _pixels(self, number: int, shape: tuple[int, ...]) -> Pixels:
        at = self._head + number % self.slots * self.size
        return np.frombuffer(self._buffer, np.uint8, int(np.prod(shape)), at).reshape(shape)

    def _at(self, number: int) -> int:
        return COUNTER_BYTES + number % self.slots * _SLOT.size

    def blank(self, shape: tuple[int, ...]) -> Pixels:
        """Memory of the next frame, to be filled in place and then published. ValueError if the frame does not fit."""
        if int(np.prod(shape)) > self.size:
            raise ValueError(f"a frame of {shape} does not fit in {self.size} bytes")
        number = self.newest + 1
        struct.pack_into("<Q", self._buffer, self._at(number), 0)  # readers see that the old frame is gone
        return self._pixels(number, shape)

    def publish(self, shape: tuple[int, ...], info: FrameInfo) -> int:
        """Make the filled blank the newest frame; returns its number."""
        number = self.newest + 1
        h, w, c = (*shape, 1)[:3]
        fields = info.memory, info.slot, info.made, info.newest_control_at, info.span
        _SLOT.pack_into(self._buffer, self._at(number), number, h, w, c, *fields)
        set_count(self._buffer, number)
        return number

    def write(self, pixels: Pixels, info: FrameInfo) -> int:
        self.blank(pixels.shape)[...] = pixels
        return self.publish(pixels.shape, info)

    def view(self, number: int) -> tuple[Pixels, FrameInfo] | None:
        """A view of that frame in the ring, (h, w, c), or None if it was overwritten."""
        seen, h, w, c, memory, slot, made, newest_control_at, span = _SLOT.unpack_from(self._buffer, self._at(number))
        if seen != number:
            return None
        return self._pixels(number, (h, w, c)), FrameInfo(made, newest_control_at, span, memory, slot)

    def read(self) -> tuple[int, Pixels, FrameInfo] | None:
        """The newest frame, copied, with its number; None before the first."""
        while number := self.newest:
            found = self.view(number)
            if found is None:
                continue
            pixels = found[0].copy()
            if self.view(number) is not None:  # not overtaken while copying
                return number, pixels, found[1]
        return None

    def close(self) -> None:
        with suppress(BufferError):  # a view still exists: the memory is freed with it
            self._memory.close()

    def unlink(self) -> None:
        self.close()
        self._memory.unlink()
