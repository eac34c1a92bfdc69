"""Tells the process that draws over the picture what to draw, whenever that changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..control.overlay import overlay_of
from ..control.polls import OpenPoll
from ..ipc.overlay import OverlayLine

INTERVAL_S = 0.1


class OverlayWriter:
    """values: of the parameters. url: the address of the audience's page. poll: that is open."""

    def __init__(self, line: OverlayLine, values: Mapping[str, Any], url: Callable[[], str],
                 poll: Callable[[], OpenPoll | None]) -> None:  # fmt: skip
        self._line, self._values, self._url, self._poll = line, values, url, poll
        self._wanted: dict[str, Any] = {}
        self._looked_at = 0.0

    def advance(self, now: float) -> None:
        if now - self._looked_at < INTERVAL_S:
            return
        self._looked_at = now
        wanted = overlay_of(self._values, self._url(), self._poll(), now)
        if wanted != self._wanted:
            self._wanted = wanted
            self._line.want(wanted)
