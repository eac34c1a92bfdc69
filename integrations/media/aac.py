"""Audio in a recording or a stream: one AAC track on the clock's time, silent where there was no audio."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from .. import Samples

SAMPLE_RATE_HZ = 48000
PACKET_SAMPLES = 1024  # AAC-LC (ISO/IEC 14496-3)
BIT_RATE = 192_000  # bits a second
AUDIO_WAIT_S = 0.25  # for late audio, by which frames are delayed; then silence is inserted
# FFmpeg's resampler (ffmpeg-resampler(1)) fills gaps, drops duplicates, and compensates drift, so that all samples are
# within 2 ms of their time.
EVEN = f"{SAMPLE_RATE_HZ}:async=480:min_hard_comp=0.02:first_pts=0"


def kept(packets: list[Any]) -> list[Any]:
    """Without the encoder's priming packets: a fragmented file has no edit list (ISO/IEC 14496-12 8.6.6) to hide them,
    and would show its first frame for longer instead."""
    return [packet for packet in packets if packet.pts >= 0]


class AudioTrack:
    """A stereo AAC track of a container. Times are seconds since the recording began."""

    def __init__(self, container: Any) -> None:
        self._stream = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="stereo")
        self._stream.bit_rate = BIT_RATE
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            format="fltp", layout="stereo", sample_rate=SAMPLE_RATE_HZ, time_base=Fraction(1, SAMPLE_RATE_HZ)
        )
        even, end = self._graph.add("aresample", EVEN), self._graph.add("abuffersink")
        source.link_to(even)
        even.link_to(end)
        self._graph.configure()
        self._end = 0  # samples so far, silence included

    def add(self, samples: Samples, at: float) -> list[Any]:
        """Add (n, 2) samples from the time `at`; returns packets. Samples before the start of the recording are
        dropped."""
        first = round(at * SAMPLE_RATE_HZ)
        samples = samples[max(-first, 0) :]
        return self._put(samples, max(first, 0)) if len(samples) else []

    def wait(self, until: float) -> list[Any]:
        """Add silence where there was no audio up to `until` for longer than AUDIO_WAIT_S; returns packets."""
        return (
            self._silence(until - AUDIO_WAIT_S)
            if until * SAMPLE_RATE_HZ > self._end + AUDIO_WAIT_S * SAMPLE_RATE_HZ
            else []
        )

    def finish(self, until: float) -> list[Any]:
        """The remaining packets, after silence up to `until`."""
        packets = self._silence(until)
        self._graph.push(None)
        return [*packets, *self._coded(), *kept(self._stream.encode(None))]

    def _silence(self, until: float) -> list[Any]:
        packets, end = [], round(until * SAMPLE_RATE_HZ)
        while self._end < end:  # in pieces, since the machine may have slept for long
            packets += self._put(np.zeros((min(end - self._end, SAMPLE_RATE_HZ), 2), np.float32), self._end)
        return packets

    def _put(self, samples: Samples, first: int) -> list[Any]:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, first, Fraction(1, SAMPLE_RATE_HZ)
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
