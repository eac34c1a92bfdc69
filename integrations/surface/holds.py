"""What pages hold, as a finger holds a pad: it is let go for a page that is gone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

HOLDS_MAX = 512  # of one page


class Holds:
    """The page that holds each parameter, and the value that it has when let go. A parameter that another page sets or
    holds is not that page's any more.

    on_change: called with what changed: the value by name, None for what nobody holds any more.
    """

    def __init__(self, on_change: Callable[[dict[str, Any]], None] = lambda change: None) -> None:
        self._on_change = on_change
        self._holders: dict[str, Hashable] = {}
        self._of: dict[Hashable, dict[str, Any]] = {}

    def hold(self, page: Hashable, rest: Mapping[str, Any]) -> None:
        """ValueError where one page holds too much."""
        own = self._of.get(page, {})
        if len(own.keys() | rest.keys()) > HOLDS_MAX:
            raise ValueError(f"a page holds {HOLDS_MAX} parameters at most")
        change = {name: value for name, value in rest.items() if own.get(name, self) != value}
        self._forget(name for name in rest if self._holders.get(name, page) is not page)
        self._of.setdefault(page, {}).update(rest)
        self._holders.update(dict.fromkeys(rest, page))
        if change:
            self._on_change(change)

    def release(self, page: Hashable, names: Iterable[str]) -> None:
        self._tell(self._forget(name for name in names if self._holders.get(name) is page))

    def taken(self, page: Hashable, names: Iterable[str]) -> None:
        """A page set these."""
        if self._holders:
            self._tell(self._forget(name for name in names if self._holders.get(name, page) is not page))

    def leave(self, page: Hashable) -> dict[str, Any]:
        """The page is gone. Returns the values of what it held."""
        left = dict(self._of.get(page, {}))
        self.release(page, left)
        return left

    def _forget(self, names: Iterable[str]) -> list[str]:
        gone = list(dict.fromkeys(names))
        for name in gone:
            page = self._holders.pop(name)
            del self._of[page][name]
            if not self._of[page]:
                del self._of[page]
        return gone

    def _tell(self, names: list[str]) -> None:
        if names:
            self._on_change(dict.fromkeys(names))
