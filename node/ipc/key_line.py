"""Keys that are pressed in an output's process, on their way to the control process."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable

from worldjockey.integrations import KeyEvent

from .cell import Cell

KEPT = 64  # the latest keys: many more than hands press between two looks


class KeyLine:
    """One writer and one reader, neither of which waits. A writer that was started again goes on where the last one
    ended, after an event without a key: what was held is released."""

    def __init__(self) -> None:
        self._cell = Cell(16 * 1024)
        self._events: deque[tuple[str, bool, float]] | None = None
        self._count = 0

    def post(self, events: Iterable[KeyEvent]) -> None:
        """Add events. In the output's process."""
        new = [(event.key[:64], event.down, event.at) for event in events]
        if self._events is None:
            self._count, kept = self._read()
            self._events = deque(kept, KEPT)
            new.insert(0, ("", False, 0.0))
        if new:
            self._events.extend(new)
            self._count += len(new)
            self._cell.write(json.dumps([self._count, list(self._events)]).encode())

    def take(self) -> list[KeyEvent]:
        """The events since the last call. In the control process."""
        if self._cell.version == 0:
            return []
        count, events = self._read()
        new, self._count = min(count - self._count, len(events)), count
        return [KeyEvent(*event) for event in events[len(events) - new :]]

    def _read(self) -> tuple[int, list[tuple[str, bool, float]]]:
        data = self._cell.read()[1]
        count, events = json.loads(data) if data else (0, [])
        return int(count), [tuple(event) for event in events]

    def unlink(self) -> None:
        self._cell.unlink()
