"""Audio for browsers: Opus in packets of 20 ms (RFC 7587), encoded once for all listeners."""

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

RATE = 48000  # samples a second, of Opus' clock and of the show's audio
PACKET_SAMPLES = 960
BIT_RATE = 128_000  # bits a second
GAP_S = 0.02  # from which on a chunk does not continue the one before
MAX_QUEUED_PACKETS = 10  # for a viewer; when the queue is full, the oldest are dropped: late audio is worse than none


@dataclass(frozen=True)
class AudioPacket:
    """One encoded packet. pts: samples since time.monotonic() was 0."""

    data: bytes
    pts: int


class AudioFeed:
    """The show's audio for all listeners. Call `encode` from the output's thread, the rest from the event loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: set[asyncio.Queue[AudioPacket]] = set()
        self._encoder: Any = None
        self._rest: Samples = np.empty((0, 2), np.float32)  # too short for a packet yet
        self._next = 0  # where the rest begins, in samples since time.monotonic() was 0

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[AudioPacket]]:
        """A queue that receives the packets until the context ends."""
        queue: asyncio.Queue[AudioPacket] = asyncio.Queue(MAX_QUEUED_PACKETS)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    def encode(self, chunk: AudioChunk) -> None:
        """Encode a chunk, if there are listeners."""
        if not self._listeners:
            self._encoder = None
            return
        begin = round(chunk.time * RATE)
        if self._encoder is None:
            self._encoder = _opus()
            self._begin(begin)
        elif abs(begin - self._next - len(self._rest)) > GAP_S * RATE:
            self._begin(begin)
        samples = np.concatenate([self._rest, chunk.samples])
        complete = len(samples) // PACKET_SAMPLES * PACKET_SAMPLES
        for at in range(0, complete, PACKET_SAMPLES):
            self._encode_packet(samples[at : at + PACKET_SAMPLES])
        self._rest = samples[complete:]

    def _begin(self, at: int) -> None:
        self._rest, self._next = self._rest[:0], at

    def _encode_packet(self, samples: Samples) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "flt", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._next, Fraction(1, RATE)
        pts, self._next = self._next, self._next + PACKET_SAMPLES
        data = b"".join(bytes(packet) for packet in self._encoder.encode(frame))
        if data:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._publish, AudioPacket(data, pts))

    def _publish(self, packet: AudioPacket) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(packet)


def _opus() -> Any:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, "stereo", "flt", BIT_RATE
    encoder.time_base = Fraction(1, RATE)
    encoder.options = {"application": "audio", "frame_duration": "20"}
    return encoder
