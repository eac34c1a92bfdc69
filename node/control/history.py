"""What was before: undo of the last changes, and named snapshots. Pure: values in, values out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

DEPTH = 100  # changes that can be undone
TOGETHER = 1.0  # seconds: a fader that goes on moving is one change
SNAPSHOTS = 64  # the oldest goes when there are more


@dataclass
class Change:
    """before: the values that were changed, as they were. beside: what else was so, which is no parameter."""

    key: Hashable
    before: dict[str, Any]
    beside: Any
    time: float


class History:
    def __init__(self) -> None:
        self._changes: deque[Change] = deque(maxlen=DEPTH)

    def __len__(self) -> int:
        return len(self._changes)

    def note(self, key: Hashable, before: Mapping[str, Any], beside: Any, now: float) -> None:
        """Something is about to change. The same key again within a second is the same change."""
        last = self._changes[-1] if self._changes else None
        if last is not None and last.key == key and now - last.time < TOGETHER:
            last.time = now
        else:
            self._changes.append(Change(key, dict(before), beside, now))

    def undo(self, read: Callable[[str], Any]) -> Change | None:
        """The last change that would still make a difference, taken off; None where there is nothing to undo.

        read: a parameter's present value.
        """
        while self._changes:
            change = self._changes.pop()
            if any(read(name) != value for name, value in change.before.items()):
                return change
        return None


class Snapshots:
    """Named sets of values. A name is the same in any case; without one the last is meant."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        return list(self._kept)

    @property
    def kept(self) -> dict[str, dict[str, Any]]:
        return dict(self._kept)

    def save(self, name: str, values: Mapping[str, Any]) -> None:
        key = name.strip().lower()[:100] or str(len(self._kept) + 1)
        self._kept.pop(key, None)
        self._kept[key] = dict(values)
        while len(self._kept) > SNAPSHOTS:
            self._kept.pop(next(iter(self._kept)))

    def recall(self, name: str) -> dict[str, Any]:
        """Raises ValueError, naming what there is."""
        if not self._kept:
            raise ValueError("there is no snapshot yet; snapshot/save makes one")
        key = name.strip().lower()[:100] or self.names[-1]
        if key not in self._kept:
            raise ValueError(f"there is no snapshot {name[:80]!r}: there is {', '.join(self.names[-10:])}")
        return self._kept[key]
