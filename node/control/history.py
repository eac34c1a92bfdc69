"""Undo of the last changes, and named snapshots. Pure: values in, values out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

UNDO_MAX = 100  # changes that can be undone
SAME_CHANGE_S = 1.0  # a fader that moves again within this time is still the same change
SNAPSHOTS_MAX = 64  # the oldest is dropped when there are more


@dataclass
class PastChange:
    """before: the changed values as they were. context: what is undone with them and is no parameter."""

    key: Hashable
    before: dict[str, Any]
    context: Any
    time: float


class History:
    def __init__(self) -> None:
        self._changes: deque[PastChange] = deque(maxlen=UNDO_MAX)

    def __len__(self) -> int:
        return len(self._changes)

    def note(self, key: Hashable, before: Mapping[str, Any], context: Any, now: float) -> None:
        """Keep values that are about to change. The same key within SAME_CHANGE_S is the same change."""
        last = self._changes[-1] if self._changes else None
        if last is not None and last.key == key and now - last.time < SAME_CHANGE_S:
            last.time = now
        else:
            self._changes.append(PastChange(key, dict(before), context, now))

    def rewrite(self, context: Callable[[Any], Any]) -> None:
        """Replace the context of each change."""
        for change in self._changes:
            change.context = context(change.context)

    def undo(self, read: Callable[[str], Any]) -> PastChange | None:
        """Remove and return the last change that still makes a difference; None where there is nothing to undo.

        read: a parameter's present value.
        """
        while self._changes:
            change = self._changes.pop()
            if any(read(name) != value for name, value in change.before.items()):
                return change
        return None


class Snapshots:
    """Named sets of values. Names are compared without case; an empty name means the last snapshot."""

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
        while len(self._kept) > SNAPSHOTS_MAX:
            self._kept.pop(next(iter(self._kept)))

    def recall(self, name: str) -> dict[str, Any]:
        """The values of a snapshot. Raises ValueError, with the names that exist."""
        if not self._kept:
            raise ValueError("there is no snapshot yet; snapshot/save makes one")
        key = name.strip().lower()[:100] or self.names[-1]
        if key not in self._kept:
            raise ValueError(f"there is no snapshot {name[:80]!r}: there is {', '.join(self.names[-10:])}")
        return self._kept[key]
