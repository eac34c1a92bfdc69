"""What is heard, between processes: a ring of pieces of sound in shared memory, for the outputs that carry it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from worldjockey.integrations import AudioChunk, Samples

from ..timing.audio_clock import AudioClock, heard
from .frame_ring import FrameInfo, FrameRing

PIECE = 480  # samples a slot holds at most: 10 ms at 48 kHz
SLOTS = 256  # so that a reader may be 2.5 s late
GAP = 0.005  # seconds between two pieces from which on the one does not continue the other


def to_read(last: int, newest: int, slots: int) -> range:
    """Numbers of the pieces that a reader which has seen `last` reads now: whatever of the newer ones is not about to
    be written over."""
    return range(max(last, newest - slots + 2, 0) + 1, newest + 1)


@dataclass
class AudioRing:
    """One writer, any number of readers, no lock: pieces of sound are frames in a `FrameRing`, (n, 2, 4) bytes."""

    ring: FrameRing = field(default_factory=lambda: FrameRing(PIECE * 8, SLOTS))
    clock: AudioClock = field(default_factory=AudioClock)

    def write(self, sound: AudioChunk) -> None:
        """Adds what arrived at `sound.time`, and puts it on an even clock."""
        for at in range(0, len(sound.samples), PIECE):
            piece = np.ascontiguousarray(sound.samples[at : at + PIECE], np.float32)
            arrived_at = sound.time + at / sound.rate
            self.clock, time = heard(self.clock, arrived_at, len(piece), sound.rate)
            self.ring.write(piece[..., None].view(np.uint8), FrameInfo(time, span=1 / sound.rate))

    def unlink(self) -> None:
        self.ring.unlink()


class Listener:
    """One reader's place in a ring. It begins at the present; what it was too late for, it never gets."""

    def __init__(self, sound: AudioRing) -> None:
        self._ring = sound.ring
        self._last = self._ring.newest

    def news(self) -> list[AudioChunk]:
        """What came since the last call, in order, as few pieces as it can be. Never waits."""
        pieces: list[list[AudioChunk]] = []
        for number in to_read(self._last, self._ring.newest, self._ring.slots):
            self._last = number
            if (piece := self._piece(number)) is None:
                continue
            before = pieces[-1][-1] if pieces else None
            if before and before.rate == piece.rate and abs(piece.time - before.end) < GAP:
                pieces[-1].append(piece)
            else:
                pieces.append([piece])
        return [AudioChunk(np.concatenate([p.samples for p in row]), row[0].rate, row[0].time) for row in pieces]

    def _piece(self, number: int) -> AudioChunk | None:
        if (found := self._ring.view(number)) is None:
            return None
        samples: Samples = found[0].reshape(-1, 8).view(np.float32).copy()
        if self._ring.view(number) is None:  # overtaken while copying
            return None
        return AudioChunk(samples, round(1 / found[1].span), found[1].made)
