"""Feedback to controllers: lights, encoder rings and motor faders. No ports; time is an argument.

A control is sent only changes, a few messages a round. A fader that is being moved is left alone until it rests, and
the echo of a motor fader that we moved is not taken for a move by the performer.
"""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .parse import Event, fourteen, seven
from .player import MOVES, nothing
from .rules import Rule, Table, unnumbered

ROUND_S = 0.04
MESSAGES_PER_ROUND = 32  # to one output
FADER_REST_S = 0.3  # after the last move of a fader, until it is sent its value
ECHO_S, ECHOES_KEPT = 1.0, 16  # the last messages to a control may echo within this time
Send = tuple[str, tuple[int, ...]]  # an output's name, a message


def plain(port: str) -> str:
    """A port's name without the numbers of the system, which may change ("... 24:0", " 3")."""
    return re.sub(r"\s+\(?\d+\)?$", "", unnumbered(port))


def partner(port: str, outputs: Iterable[str], parts: Iterable[str], skip: Iterable[str] = ()) -> str | None:
    """The output of an input's controller: of those whose name has one of `parts`, the one with the most similar
    name."""
    fitting = [
        name
        for name in outputs
        if any(part.lower() in name.lower() for part in parts) and not any(s.lower() in name.lower() for s in skip)
    ]
    return max(fitting, key=lambda name: difflib.SequenceMatcher(None, port, name).ratio(), default=None)


def message(rule: Rule, value: Any) -> list[tuple[int, ...]]:
    """Messages that show a parameter's value on a rule's control; none without a light, or for a value without
    position."""
    x = float(value == rule.shows) if rule.shows is not None else rule.position_of(value)
    if rule.light is None or x is None:
        return []
    channel, number = (rule.channel or 1) - 1, rule.number or 0
    if rule.light == "value":
        if rule.kind == "cc14":
            wide = fourteen(x)
            return [(0xB0 | channel, number, wide >> 7), (0xB0 | channel, number + 32, wide & 0x7F)]
        if rule.kind == "bend":
            wide = fourteen(x)
            return [(0xE0 | channel, wide & 0x7F, wide >> 7)]
        status = {"cc": 0xB0, "note": 0x90}.get(rule.kind)
        return [] if status is None else [(status | channel, number, seven(x))]
    levels = list(rule.light)
    level = 0 if x <= 0.002 else min(1 + int(x * (len(levels) - 1)), len(levels) - 1)
    velocity, *rest = levels[level] if isinstance(levels[level], list | tuple) else (levels[level],)
    status = 0xB0 if rule.kind in ("cc", "cc14") else 0x90
    return [(status | (rest[0] - 1 if rest else channel), number, velocity)]


class Lights:
    """The lights of all controllers. read: returns a parameter's current value. Not thread-safe."""

    def __init__(self, read: Callable[[str], Any] = nothing) -> None:
        self._read = read
        self._plugged: dict[str, tuple[str, Table]] = {}  # by port: its output, its table
        self._watch: dict[str, list[tuple[str, Rule]]] = {}  # by parameter: the controls that show it
        self._dirty: dict[tuple[str, Rule], None] = {}  # in the order in which they changed
        self._values: dict[str, Any] = {}
        self._shown: dict[tuple[str, int, int], deque[tuple[tuple[int, ...], float]]] = {}  # by output and control
        self._touched: dict[tuple[str, int, int], float] = {}  # by port, status and number
        self._greetings: list[Send] = []

    def plug(self, port: str, output: str, table: Table) -> None:
        """A controller was connected: initialize it, and show all its values."""
        self.unplug(port)
        self._plugged[port] = output, table
        if table.controller is not None:
            self._greetings += [(output, hello) for hello in table.controller.hello]
        for rule in table.lit:
            watch = rule.watch or str(rule.target)
            self._watch.setdefault(watch, []).append((port, rule))
            value = self._read(watch)
            if value is not None:
                self._values[watch] = value
                self._dirty[port, rule] = None

    def refresh(self) -> None:
        """Show everything again: messages may be lost, and a controller may have changed its bank."""
        self._shown.clear()
        for controls in self._watch.values():
            self._dirty.update(dict.fromkeys(controls))

    def unplug(self, port: str) -> None:
        output, _ = self._plugged.pop(port, ("", None))
        self._greetings = [sent for sent in self._greetings if sent[0] != output]
        self._watch = {k: left for k, v in self._watch.items() if (left := [c for c in v if c[0] != port])}
        self._dirty = dict.fromkeys(key for key in self._dirty if key[0] != port)
        self._shown = {key: v for key, v in self._shown.items() if key[0] != output}
        self._touched = {key: v for key, v in self._touched.items() if key[0] != port}

    def note(self, target: str, value: Any) -> None:
        """A parameter has a new value."""
        controls = self._watch.get(target)
        if controls:
            self._values[target] = value
            for control in controls:
                self._dirty[control] = None

    def is_echo(self, event: Event, port: str, now: float) -> bool:
        """Whether an event is the echo of what we sent. Any other is recorded as a move of that control."""
        plugged = self._plugged.get(port)
        if plugged is None or event.kind not in MOVES or event.kind in ("nrpn", "pressure"):
            return False
        status, number = (0xE0, 0) if event.kind == "bend" else (0xB0, event.number)
        status |= event.channel - 1
        if now - self._touched.get((port, status, number), -ECHO_S) > ECHO_S:
            value = event.value >> 7 if event.kind == "cc14" else event.value
            for sent, when in self._shown.get((plugged[0], status, number), ()):
                if now - when < ECHO_S and value == (sent[1] | sent[2] << 7 if event.kind == "bend" else sent[2]):
                    return True
        self._touched[port, status, number] = now
        return False

    @property
    def settled(self) -> bool:
        """Whether everything was sent."""
        return not self._dirty and not self._greetings

    def due(self, now: float) -> list[Send]:
        """The messages of one round."""
        found, self._greetings = self._greetings, []
        count: dict[str, int] = {}
        for key in list(self._dirty):
            port, rule = key
            output = self._plugged[port][0]
            if count.get(output, 0) >= MESSAGES_PER_ROUND:
                continue
            sends = message(rule, self._values.get(rule.watch or str(rule.target)))
            if sends and rule.light == "value" and now - self._hand(port, sends[0]) < FADER_REST_S:
                continue
            del self._dirty[key]
            for send in sends:
                control = (output, send[0], 0 if send[0] >= 0xE0 else send[1])
                if send[0] & 0xF0 == 0x90:  # a note's channel may be its brightness
                    control = (output, 0x90, send[1])
                before = self._shown.setdefault(control, deque(maxlen=ECHOES_KEPT))
                if not before or before[-1][0] != send:
                    before.append((send, now))
                    count[output] = count.get(output, 0) + 1
                    found.append((output, send))
        return found

    def _hand(self, port: str, send: tuple[int, ...]) -> float:
        return self._touched.get((port, send[0], 0 if send[0] >= 0xE0 else send[1]), -FADER_REST_S)

    def all_off(self) -> list[Send]:
        """Messages that turn off every light and reset every controller."""
        found: list[Send] = []
        for output, table in self._plugged.values():
            for rule in table.lit:
                if rule.light != "value":
                    shown = message(rule, self._values.get(rule.watch or str(rule.target)))
                    found += [(output, (*send[:2], 0)) for send in shown]
            if table.controller is not None:
                found += [(output, bye) for bye in table.controller.bye]
        return found
