"""Sound for browsers, coded once for all who listen: Opus in pieces of 20 ms (RFC 7587)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from .. import AudioChunk, Samples

RATE = 48000  # of Opus' clock, and of whatever is heard
PIECE = 960  # samples
BITS = 128_000  # a second
GAP = 0.02  # seconds from which on a piece does not continue the one before
BEHIND = 10  # pieces that wait for a viewer; of more, the oldest go: late sound is worse than none


@dataclass(frozen=True)
class Piece:
    """One packet. pts: samples since the clock began."""

    data: bytes
    pts: int


class SoundFeed:
    """`hear` belongs to the output's thread, everything else to the event loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: set[asyncio.Queue[Piece]] = set()
        self._coder: Any = None
        self._rest: Samples = np.empty((0, 2), np.float32)  # too short for a piece
        self._next = 0  # samples since the clock began, where the rest begins

    @contextlib.contextmanager
    def listened(self) -> Iterator[asyncio.Queue[Piece]]:
        """A place where the pieces come, for as long as somebody takes them."""
        queue: asyncio.Queue[Piece] = asyncio.Queue(BEHIND)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    def hear(self, heard: AudioChunk) -> None:
        """Code what was heard, where anybody listens."""
        if not self._listeners:
            self._coder = None
            return
        begins = round(heard.time * RATE)
        if self._coder is None:
            self._coder = _opus()
            self._begin(begins)
        elif abs(begins - self._next - len(self._rest)) > GAP * RATE:
            self._begin(begins)
        samples = np.concatenate([self._rest, heard.samples])
        whole = len(samples) // PIECE * PIECE
        for at in range(0, whole, PIECE):
            self._code(samples[at : at + PIECE])
        self._rest = samples[whole:]

    def _begin(self, at: int) -> None:
        self._rest, self._next = self._rest[:0], at

    def _code(self, samples: Samples) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "flt", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._next, Fraction(1, RATE)
        pts, self._next = self._next, self._next + PIECE
        data = b"".join(bytes(packet) for packet in self._coder.encode(frame))
        if data:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._publish, Piece(data, pts))

    def _publish(self, piece: Piece) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(piece)


def _opus() -> Any:
    coder: Any = av.CodecContext.create("libopus", "w")
    coder.sample_rate, coder.layout, coder.format, coder.bit_rate = RATE, "stereo", "flt", BITS
    coder.time_base = Fraction(1, RATE)
    coder.options = {"application": "audio", "frame_duration": "20"}
    return coder
