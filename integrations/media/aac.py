"""Sound in a recording or a stream: one AAC track that keeps the clock's time, silent where nothing was heard."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from .. import Samples

RATE = 48000
SAMPLES = 1024  # of a packet (ISO/IEC 14496-3, AAC-LC)
BITS = 192_000  # a second
WAITS = 0.25  # seconds after which what was not heard is silence: the pictures wait for the sound
# FFmpeg's resampler (ffmpeg-resampler(1)) fills what is missing, leaves out what comes twice, and stretches what drifts
# so that everything lies where it was heard, within 2 ms.
EVEN = f"{RATE}:async=480:min_hard_comp=0.02:first_pts=0"


def kept(packets: list[Any]) -> list[Any]:
    """Without what the encoder says before it begins: a file in pieces has no place for that (an edit list, ISO/IEC
    14496-12 8.6.6), and would show its first picture for longer instead."""
    return [packet for packet in packets if packet.pts >= 0]


class SoundTrack:
    """A stereo AAC track of a container. Times are seconds since the recording began."""

    def __init__(self, container: Any) -> None:
        self._stream = container.add_stream("aac", rate=RATE, layout="stereo")
        self._stream.bit_rate = BITS
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(format="fltp", layout="stereo", sample_rate=RATE, time_base=Fraction(1, RATE))
        even, end = self._graph.add("aresample", EVEN), self._graph.add("abuffersink")
        source.link_to(even)
        even.link_to(end)
        self._graph.configure()
        self._end = 0  # samples up to which it is known what was heard

    def hear(self, samples: Samples, at: float) -> list[Any]:
        """The packets that come of (n, 2) samples heard from `at` on. What was heard before the recording is not in
        it."""
        first = round(at * RATE)
        samples = samples[max(-first, 0) :]
        return self._put(samples, max(first, 0)) if len(samples) else []

    def wait(self, until: float) -> list[Any]:
        """The packets that come of silence, where nothing was heard up to `until` for too long to wait for it."""
        return self._silence(until - WAITS) if until * RATE > self._end + WAITS * RATE else []

    def finish(self, until: float) -> list[Any]:
        """What is still held, and silence up to `until`."""
        packets = self._silence(until)
        self._graph.push(None)
        return [*packets, *self._coded(), *kept(self._stream.encode(None))]

    def _silence(self, until: float) -> list[Any]:
        packets, end = [], round(until * RATE)
        while self._end < end:  # in pieces, however long it was: a machine may have slept
            packets += self._put(np.zeros((min(end - self._end, RATE), 2), np.float32), self._end)
        return packets

    def _put(self, samples: Samples, first: int) -> list[Any]:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        self._graph.push(frame)
        self._end = max(self._end, first + len(samples))
        return self._coded()

    def _coded(self) -> list[Any]:
        return [packet for frame in self._even() for packet in kept(self._stream.encode(frame))]

    def _even(self) -> Iterator[Any]:
        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
