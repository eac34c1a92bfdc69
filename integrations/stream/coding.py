"""A stream's frames and audio, coded as H.264 and AAC packets on one time line."""

from __future__ import annotations

from typing import Any

from .. import AudioChunk, VideoFormat
from ..media.aac import AUDIO_WAIT_S, PACKET_SAMPLES, SAMPLE_RATE_HZ, AudioTrack
from ..media.h264 import Coder
from .output import Picture


class Coded:
    """One stream's picture and sound, as packets for its container. Its time begins with the first picture."""

    def __init__(self, container: Any, fmt: VideoFormat, sound: bool) -> None:
        self._coder = Coder(container, fmt, live=True)
        self._track = AudioTrack(container) if sound else None
        self._first: tuple[int, float] | None = None  # tick and time
        self._rate = fmt.fps
        self.encoder = self._coder.name
        # Packets that wait for the other one's of their time before they go on.
        self.held = round(2 * AUDIO_WAIT_S * (fmt.fps + SAMPLE_RATE_HZ / PACKET_SAMPLES)) if sound else 0

    def packets(self, picture: Picture | None, sound: list[AudioChunk]) -> list[Any] | None:
        """None where the clock began anew: its ticks are no longer this stream's."""
        if picture is not None:
            self._first = self._first or (picture.tick, picture.time)
        if self._first is None:  # nothing to lay the sound beside
            return []
        tick, begin = self._first
        packets: list[Any] = []
        if picture is not None:
            if picture.tick < tick:
                return None
            packets += self._coder.encode(picture.pixels, picture.tick - tick)
        if self._track is not None:
            for heard in sound:
                packets += self._track.add(heard.samples, heard.time - begin)
            if picture is not None:
                packets += self._track.wait((picture.tick - tick + 1) / self._rate)
        return packets
