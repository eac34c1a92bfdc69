"""What a universe's channels are when several desks send to it.

Of the sources that live, those of the highest priority count (ANSI E1.31-2018, 6.2.3); among them the highest value of
each channel takes precedence. Art-Net has no priorities: its sources have sACN's default.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CHANNELS = 512
DEFAULT_PRIORITY = 100
LOST_AFTER_S = 2.5  # E1.31: network data loss timeout
SOURCES_MAX = 16  # of a universe
BEHIND_MAX = 20  # of 256, by which a sequence number may be behind and still mean an old frame: E1.31, 6.7.2
COPY_WITHIN_S = 0.01  # in which the same number means the same frame, that came by two networks

Frame = NDArray[np.uint8]


@dataclass
class Source:
    """One sender to one universe. name, address: for the performer. rate: frames a second."""

    name: str
    address: str
    protocol: str
    priority: int
    frame: Frame
    sequence: int
    at: float
    began: float
    count: int = 0

    def rate(self, now: float) -> float:
        return self.count / max(now - self.began, 1.0)


@dataclass
class Universe:
    sources: dict[Hashable, Source] = field(default_factory=dict)
    merged: Frame | None = None  # what the channels are, held when all sources are lost

    def receive(self, key: Hashable, source: Source) -> bool:
        """Take a frame of the sender `key`; returns whether it was taken. An old frame that comes late is not. A sender
        that never counts is read all the same."""
        known = self.sources.get(key)
        if known is not None:
            ahead = (source.sequence - known.sequence) % 256
            copy = ahead == 0 and source.at - known.at < COPY_WITHIN_S
            if source.sequence and known.sequence and (copy or ahead > 256 - BEHIND_MAX):
                return False
            source.began, source.count = known.began, known.count
        source.count += 1
        self.sources[key] = source
        return True

    def remove(self, key: Hashable) -> Source | None:
        """A sender that said that it ends."""
        return self.sources.pop(key, None)

    def lost(self, now: float) -> list[Source]:
        """Forget the senders that are silent, and return them."""
        gone = [key for key, source in self.sources.items() if now - source.at > LOST_AFTER_S]
        return [self.sources.pop(key) for key in gone]

    @property
    def counting(self) -> frozenset[Hashable]:
        """The senders of the highest priority that lives."""
        top = max((source.priority for source in self.sources.values()), default=0)
        return frozenset(key for key, source in self.sources.items() if source.priority == top)

    def merge(self) -> Frame | None:
        """(512,) uint8: the channels now. With no source left, those of the last one; None before the first."""
        if self.sources:
            top = max(source.priority for source in self.sources.values())
            frames = [source.frame for source in self.sources.values() if source.priority == top]
            self.merged = frames[0] if len(frames) == 1 else np.maximum.reduce(frames)
        return self.merged


def framed(data: bytes | tuple[int, ...]) -> Frame:
    """(512,) uint8: channels that were not sent are 0."""
    frame = np.zeros(CHANNELS, np.uint8)
    sent = np.frombuffer(bytes(data[:CHANNELS]), np.uint8)
    frame[: len(sent)] = sent
    return frame
