"""Messages of bundles that wait for their time. Pure: time is an argument, in seconds of one clock."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
SCHEDULED_MAX = 4096
SCHEDULED_BYTES_MAX = 4 << 20
MOVED_ADDRESSES_MAX = 4096


class Scheduled(Generic[T]):
    """Bounded in number and in bytes. A message with something beside it (T), as its sender.

    superseded: how many were dropped, because their fader had been moved since they were scheduled.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, bytes, T, float]] = []  # due, order, message, T, arrival
        self._bytes = 0
        self._order = itertools.count()
        self._moved_at: dict[bytes, float] = {}  # by address, while anything waits
        self.superseded = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def add(self, message: bytes, beside: T, arrived_at: float, due: float) -> bool:
        """False where there is no room: the message is to be obeyed now."""
        if len(self._heap) >= SCHEDULED_MAX or self._bytes >= SCHEDULED_BYTES_MAX:
            return False
        heapq.heappush(self._heap, (due, next(self._order), message, beside, arrived_at))
        self._bytes += len(message)
        return True

    def moved(self, message: bytes, now: float) -> None:
        """A message that was not scheduled has moved its fader: what was scheduled for that address before is void."""
        if self._heap and len(self._moved_at) < MOVED_ADDRESSES_MAX:
            self._moved_at[_address(message)] = now

    def due(self, now: float) -> Iterator[tuple[bytes, T]]:
        """What is due, in the order of its time."""
        while self._heap and self._heap[0][0] <= now:
            _, _, message, beside, arrived_at = heapq.heappop(self._heap)
            self._bytes -= len(message)
            if self._moved_at.get(_address(message), float("-inf")) > arrived_at:
                self.superseded += 1
            else:
                yield message, beside
        if not self._heap:
            self._moved_at.clear()


def _address(message: bytes) -> bytes:
    return message.partition(b"\0")[0]
