"""MIDI learn: finds from messages which control is moved. Pure."""

from __future__ import annotations

from typing import Any

from .parse import FINE_OFFSET, Encoding, Event

BEND_MIN = 1024  # from the rest position, for a pitch wheel to count
# Of an encoder turned slowly to the right; 63 is to the left. 127 may be a button's that sends no release.
RELATIVE: dict[int, Encoding] = {1: "twos", 65: "offset", 63: "offset"}
REST = 64  # some encoders of the kind "offset" send this after each tick


class Gather:
    """Collects events until it is clear which control was moved.

    `add` returns the fields of the control as in a show's `midi: map:` (note, cc, cc14, nrpn, pitchbend, program;
    channel; relative for an encoder that counts ticks), or None while that is not clear. A pad is clear at once; a
    controller with its second message, which distinguishes faders of 7 bits from those of 14, and from encoders that
    are turned to the right.
    """

    def __init__(self) -> None:
        self._last: tuple[str, int, int] | None = None
        self._first: dict[tuple[str, int, int], int] = {}  # by port, channel, controller: its first value
        self._rested: set[tuple[str, int, int]] = set()  # controls that sent REST after it

    def add(self, event: Event, port: str) -> dict[str, Any] | None:
        channel = {"channel": event.channel}
        if event.kind == "note":
            return {"note": event.number, **channel}
        if event.kind == "program":
            return {"program": event.number + 1, **channel}
        if event.kind in ("nrpn", "step"):
            return {"nrpn": event.number, **channel}
        if event.kind == "bend" and abs(event.value - 8192) >= BEND_MIN:
            return {"pitchbend": True, **channel}
        if event.kind != "cc" or event.number >= 120:
            return None
        control, last = (port, event.channel, event.number), self._last
        self._last = control
        if last == (port, event.channel, event.number - FINE_OFFSET):
            return {"cc14": event.number - FINE_OFFSET, **channel}
        before = self._first.get(control)
        self._first.setdefault(control, event.value)
        if before is None:
            return None
        if before == event.value and before in RELATIVE:
            return {"cc": event.number, "relative": RELATIVE[before], **channel}
        if event.value == REST and RELATIVE.get(before) == "offset" and control not in self._rested:
            self._rested.add(control)  # the next one tells it from a fader that crosses the middle
            return None
        return {"cc": event.number, **channel}
