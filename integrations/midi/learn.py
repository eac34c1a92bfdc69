"""MIDI learn: which control a hand moves, found from the messages that it sends. Pure."""

from __future__ import annotations

from typing import Any

from .parse import FINE, Encoding, Event

BENT = 1024  # a wheel this far from its rest was meant
RELATIVE: dict[int, Encoding] = {1: "twos", 65: "offset"}  # an encoder turned slowly to the right


class Gather:
    """Looks at events until it is clear what was moved.

    `hear` returns what names the control in a show's `midi: map:` (note, cc, cc14, nrpn, pitchbend, program; channel;
    relative where an encoder counts ticks), or None while that is not clear. A pad is clear at once; a controller with
    its second message, which tells faders of 7 bits from those of 14, and from encoders that are turned to the right.
    """

    def __init__(self) -> None:
        self._last: tuple[str, int, int] | None = None
        self._first: dict[tuple[str, int, int], int] = {}  # by port, channel, controller: its first value

    def hear(self, event: Event, port: str) -> dict[str, Any] | None:
        channel = {"channel": event.channel}
        if event.kind == "note":
            return {"note": event.number, **channel}
        if event.kind == "program":
            return {"program": event.number + 1, **channel}
        if event.kind in ("nrpn", "step"):
            return {"nrpn": event.number, **channel}
        if event.kind == "bend" and abs(event.value - 8192) >= BENT:
            return {"pitchbend": True, **channel}
        if event.kind != "cc" or event.number >= 120:
            return None
        place, last = (port, event.channel, event.number), self._last
        self._last = place
        if last == (port, event.channel, event.number - FINE):
            return {"cc14": event.number - FINE, **channel}
        before = self._first.get(place)
        self._first[place] = event.value
        if before is None:
            return None
        if before == event.value and before in RELATIVE:
            return {"cc": event.number, "relative": RELATIVE[before], **channel}
        return {"cc": event.number, **channel}
