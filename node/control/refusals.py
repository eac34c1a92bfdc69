"""Refused controls, as the performer is shown them: each new one once, and never a flood of them."""

from __future__ import annotations

import re
from collections import OrderedDict, deque

from ..parameters import PADS, PARAMETERS, find, nearest

KNOWN_MAX = 256  # refusals that are remembered, so that they are shown once
WAITING_MAX = 4  # that wait to be shown; more are counted
SHOW_INTERVAL_S = 0.5  # between two lines on the terminal
NUMBER = re.compile(r"-?\d+(\.\d+(e[+-]?\d+)?|e[+-]?\d+)")  # not whole ones: "pad/99" is a name
LINE_CHARS = 300
AGAIN_S = 60.0  # after which the same refusal is shown again, if it still comes


class Refusals:
    """Which refusals are to be shown. All methods need the desk's lock. Time is an argument, in seconds."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, float] = OrderedDict()  # when each was shown last
        self._waiting: deque[tuple[str, str]] = deque()
        self._uncounted = 0  # new ones that found no place among the waiting
        self._shown_at = float("-inf")

    def note(self, source: str, reason: str, now: float, name: str = "") -> None:
        """source: "osc 127.0.0.1:53211", "midi APC mini". name: of a parameter that does not exist."""
        host = source.rpartition(":")[0] or source  # programs send from a new port each time they start
        line = f"{host}: {reason}"[:LINE_CHARS]
        key = NUMBER.sub("0", line)  # a fader on a wrong address is one refusal, whatever its value
        shown_at = self._known.get(key)
        if shown_at is not None and now - shown_at < AGAIN_S:
            return
        self._known[key] = now
        self._known.move_to_end(key)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((line, name))
        else:
            self._uncounted += 1

    def to_show(self, now: float) -> str:
        """The next line to show, at most one every SHOW_INTERVAL_S; empty where nothing is new."""
        if now - self._shown_at < SHOW_INTERVAL_S or not (self._waiting or self._uncounted):
            return ""
        self._shown_at = now
        if self._waiting:
            line, name = self._waiting.popleft()
            return line + (advice(name) if name else "")  # here, because a search through all names takes its time
        more, self._uncounted = self._uncounted, 0
        return f"{more} more refused control{'s' if more > 1 else ''}; the run's report counts them all"


def advice(name: str) -> str:
    """The end of an error about a parameter that does not exist: what to send instead."""
    p = find(re.split("[ =,]", name.lower())[0])
    if p is not None and p.name != name.lower():  # programs whose field for an address takes no value
        return f": send what follows {p.osc} as its argument, not in the address"
    if re.fullmatch(r"pad/\d+", name):
        return f": pads are numbered from 1 to {PADS}"
    if below := next((p.osc for p in PARAMETERS.values() if p.name.startswith(f"{name}/") and p.kind != "trigger"), ""):
        return f": each value has an address of its own, as in {below}"
    return nearest(name.lower())
