"""A stream's frames and audio, encoded as H.264 and AAC packets on one timeline."""

from __future__ import annotations

from typing import Any

from .. import AudioChunk, VideoFormat
from ..media.aac import AUDIO_WAIT_S, PACKET_SAMPLES, SAMPLE_RATE_HZ, AudioTrack
from ..media.h264 import Coder
from .output import QueuedFrame


class StreamEncoder:
    """Encodes one stream's frames and audio to packets for its container. Its time begins with the first frame."""

    def __init__(self, container: Any, fmt: VideoFormat, audio: bool) -> None:
        self._coder = Coder(container, fmt, live=True)
        self._track = AudioTrack(container) if audio else None
        self._first: tuple[int, float] | None = None  # tick and time
        self._rate = fmt.fps
        self.encoder = self._coder.name
        # The most packets that the container holds back until it has the other stream's packets of the same time.
        self.held_packets_max = round(2 * AUDIO_WAIT_S * (fmt.fps + SAMPLE_RATE_HZ / PACKET_SAMPLES)) if audio else 0

    def packets(self, frame: QueuedFrame | None, chunks: list[AudioChunk]) -> list[Any] | None:
        """The packets of a frame and of chunks of audio; None if the clock began anew, which ends this timeline."""
        if frame is not None:
            self._first = self._first or (frame.tick, frame.time)
        if self._first is None:  # the timeline has not begun
            return []
        tick, begin = self._first
        packets: list[Any] = []
        if frame is not None:
            if frame.tick < tick:
                return None
            packets += self._coder.encode(frame.pixels, frame.tick - tick)
        if self._track is not None:
            for chunk in chunks:
                packets += self._track.add(chunk.samples, chunk.time - begin)
            if frame is not None:
                packets += self._track.wait((frame.tick - tick + 1) / self._rate)
        return packets
