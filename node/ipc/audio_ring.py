"""Audio between processes: a ring of audio chunks in shared memory, for the outputs that carry audio."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from worldjockey.integrations import AudioChunk, Samples

from ..timing.audio_clock import AudioClock, advance
from .frame_ring import FrameInfo, FrameRing

CHUNK_SAMPLES = 480  # the most that a slot holds: 10 ms at 48 kHz
SLOTS = 256  # 2.5 s, by which a reader may be late
GAP_MAX_S = 0.005  # between two chunks that are joined


def to_read(last: int, newest: int, slots: int) -> range:
    """Numbers of the chunks to read after chunk `last`: the newer ones that are not about to be overwritten."""
    return range(max(last, newest - slots + 2, 0) + 1, newest + 1)


@dataclass
class AudioRing:
    """One writer, any number of readers, no lock. An audio chunk is a frame of (n, 2, 4) bytes in a `FrameRing`."""

    ring: FrameRing = field(default_factory=lambda: FrameRing(CHUNK_SAMPLES * 8, SLOTS))
    clock: AudioClock = field(default_factory=AudioClock)

    def write(self, chunk: AudioChunk) -> None:
        """Add a chunk that arrived at `chunk.time`, timed by an even clock."""
        for at in range(0, len(chunk.samples), CHUNK_SAMPLES):
            piece = np.ascontiguousarray(chunk.samples[at : at + CHUNK_SAMPLES], np.float32)
            arrived_at = chunk.time + at / chunk.rate
            self.clock, time = advance(self.clock, arrived_at, len(piece), chunk.rate)
            self.ring.write(piece[..., None].view(np.uint8), FrameInfo(time, span=1 / chunk.rate))

    def unlink(self) -> None:
        self.ring.unlink()


class AudioReader:
    """Reads a ring from now on. Chunks that were overwritten before they were read are lost."""

    def __init__(self, audio: AudioRing) -> None:
        self._ring = audio.ring
        self._last = self._ring.newest

    def read_new(self) -> list[AudioChunk]:
        """The audio since the last call, in order; chunks that continue each other are joined. Never waits."""
        pieces: list[list[AudioChunk]] = []
        for number in to_read(self._last, self._ring.newest, self._ring.slots):
            self._last = number
            if (piece := self._piece(number)) is None:
                continue
            before = pieces[-1][-1] if pieces else None
            if before and before.rate == piece.rate and abs(piece.time - before.end) < GAP_MAX_S:
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
