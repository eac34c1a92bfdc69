"""Translates events to controls. Keeps held notes, pressed buttons and fader positions. No ports, no time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .parse import ALL_NOTES_OFF, ALL_SOUND_OFF, Event, fraction, ticks
from .rules import TAKEOVER_DISTANCE, Controller, Rule, Table, pickup, scale, table, unnumbered

TargetArgs = tuple[str, tuple[Any, ...]]  # a target and its arguments
MOVES = ("cc", "cc14", "nrpn", "bend", "pressure")


@dataclass
class FaderState:
    """State of a fader for one rule. position: 0..1, None before its first message. sent: the last value that it
    set."""

    position: float | None = None
    sent: float | None = None

    def taken(self, rule: Rule, x: float, value: float | None) -> float | None:
        """The position that a parameter's value gets where the fader goes to x; None while the fader has not taken it
        over."""
        position = None if value is None else rule.position_of(value)
        if value is None or position is None:
            return x
        if self.sent == rule.kept(rule.at(self.position or 0.0)) and abs(value - self.sent) <= rule.loose:
            return x  # it was set by this fader, and not changed since
        # Where a curve is steep, a short distance on the fader can be a large one in value.
        near = TAKEOVER_DISTANCE if abs(rule.at(x) - value) <= TAKEOVER_DISTANCE * abs(rule.high - rule.low) else 0.0
        new = (scale if rule.takeover == "scale" else pickup)(self.position, x, position, near)
        if new is None and abs(rule.kept(rule.at(x)) - value) <= rule.loose:
            return x  # a whole number spans a part of the fader
        return new


def nothing(_target: str) -> Any:
    return None


def position(event: Event) -> float:
    """0..1, with the middle at 0.5."""
    if event.kind in ("cc14", "nrpn", "bend"):
        return fraction(event.value, 0, 8192, 16383)
    return fraction(event.value, 0, 64, 127) if event.kind == "cc" else event.value / 127


class Translator:
    """Translates the messages of every port by its table. read: returns a parameter's current value, or None.

    own: the virtual port for other programs, which has no soft takeover. feedback: parts of the names of unknown ports
    that are sent values.
    A note sets its pad with velocity as weight, and aftertouch changes it; a pitch wheel runs from low over the middle
    (at rest) to high.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        controllers: Iterable[Controller] = (),
        read: Callable[[str], Any] = nothing,
        own: str = "",
        feedback: Iterable[str] = (),
    ) -> None:
        self._rules, self._controllers = list(rules), tuple(controllers)
        self._read, self._own, self._feedback = read, own, tuple(feedback)
        self._tables: dict[str, Table] = {}
        self._ports: tuple[str, ...] = ()
        # By port, channel and note: the rules that a note holds, and the value of each.
        self._held: dict[tuple[str, int, int], dict[Rule, float]] = {}
        self._down: dict[
            tuple[str, str, int, int], list[Rule]
        ] = {}  # pressed controllers, and the gates that they hold
        self._hands: dict[tuple[str, Rule], FaderState] = {}
        self.counts: Counter[str] = Counter()

    @property
    def held(self) -> int:
        return len(self._held)

    def table(self, port: str) -> Table:
        known = self._tables.get(port)
        if known is None:
            known = self._tables[port] = table(port, self._rules, self._controllers, self._feedback, self._ports)
        return known

    def connect(self, ports: Iterable[str]) -> None:
        """Take note of all ports that are connected: a mapping to a numbered device may depend on the others."""
        self._ports = tuple(ports)
        if any(rule.device and unnumbered(rule.device) != rule.device for rule in self._rules):
            self._tables.clear()

    def add(self, rule: Rule) -> None:
        """Add a learned mapping, which replaces an earlier one of the same control."""
        control = (rule.kind, rule.number, rule.channel, rule.device)
        self._rules = [r for r in self._rules if r.default or (r.kind, r.number, r.channel, r.device) != control]
        self._rules.insert(0, rule)
        self._tables.clear()

    def replace(self, rules: Iterable[Rule]) -> None:
        """Other mappings. Those that stay keep what they hold, and where their faders are."""
        known = {_fields(rule): rule for rule in reversed(self._rules)}
        self._rules = [known.get(_fields(rule), rule) for rule in rules]
        self._tables.clear()

    def play(self, event: Event, port: str) -> Iterator[TargetArgs]:
        """(target, args) for each control that the event sets. Apply each before requesting the next."""
        kind, channel = event.kind, event.channel
        rules = self.table(port).find(kind, event.number if kind not in ("bend", "pressure") else None, channel)
        if kind == "note":
            yield from self._note_on(event, port, rules)
        elif kind == "off":
            yield from self._release([(port, channel, event.number)])
        elif kind == "poly":
            yield from self._ride([(port, channel, event.number)], event.value / 127)
            yield from self._move(event, port, rules)
        elif kind == "pressure":
            yield from self._ride([key for key in self._held if key[:2] == (port, channel)], event.value / 127)
            yield from self._move(event, port, rules)
        elif kind == "program":
            for rule in rules:
                yield from (
                    self._step(rule)
                    if rule.mode == "next"
                    else [(str(rule.target), (event.number + 1,) if rule.press is None else rule.press)]
                )
        elif kind == "step":
            for rule in self.table(port).find("nrpn", event.number, channel):
                yield from self._turn(rule, event.value)
        elif kind == "cc" and event.number in (ALL_SOUND_OFF, ALL_NOTES_OFF) and not rules:
            # Sequencers send it when they stop; a controller may have a fader there, which the show maps.
            yield from self._release([key for key in self._held if key[:2] == (port, channel)])
        elif kind in MOVES:
            yield from self._move(event, port, rules)

    def release(self, port: str | None = None) -> Iterator[TargetArgs]:
        """Release the notes and gates of a port that was lost, or of all ports."""
        for key in [key for key in self._down if port is None or key[0] == port]:
            for rule in self._down.pop(key):
                yield str(rule.target), (self._released(rule),)
        yield from self._release([key for key in self._held if port is None or key[0] == port])
        for hand in [hand for hand in self._hands if port is None or hand[0] == port]:
            del self._hands[hand]
        for known in [known for known in self._tables if port is None or known == port]:
            del self._tables[known]

    def _note_on(self, event: Event, port: str, rules: list[Rule]) -> Iterator[TargetArgs]:
        holding = [rule for rule in rules if rule.press is None and rule.mode in ("fader", "gate")]
        if holding:
            self._held.pop((port, event.channel, event.number), None)  # the latest of several comes last
            self._held[port, event.channel, event.number] = {rule: self._struck(rule, event) for rule in holding}
        for rule in rules:
            if rule.press is not None:
                yield str(rule.target), rule.press
            elif rule.mode in ("toggle", "enum", "next"):
                yield from self._toggle(rule) if rule.mode == "toggle" else self._step(rule)
            else:
                yield str(rule.target), (self._struck(rule, event),)

    def _struck(self, rule: Rule, event: Event) -> float:
        """The value that a note sets: its velocity, or all of it for a switch or a gate."""
        return rule.at(1.0 if rule.switch or rule.mode == "gate" else event.value / 127)

    def _released(self, rule: Rule) -> float:
        """The value of a target that one note or button lets go: that of the latest which still holds it, on any
        port, else the rule's low end."""
        for rules in reversed(self._held.values()):
            for other, value in rules.items():
                if other.target == rule.target:
                    return value
        for gates in reversed(self._down.values()):
            for other in gates:
                if other.target == rule.target:
                    return other.at(1.0)
        return rule.at(0.0)

    def _release(self, keys: list[tuple[str, int, int]]) -> Iterator[TargetArgs]:
        for key in keys:
            for rule in self._held.pop(key, {}):
                yield str(rule.target), (self._released(rule),)

    def _ride(self, keys: list[tuple[str, int, int]], x: float) -> Iterator[TargetArgs]:
        for key in keys:
            for rule in self._held.get(key, {}):
                if not rule.switch and rule.mode != "gate":
                    self._held[key][rule] = rule.at(x)
                    yield str(rule.target), (rule.at(x),)

    def _move(self, event: Event, port: str, rules: list[Rule]) -> Iterator[TargetArgs]:
        if not rules:
            return
        x = position(event)
        key = (port, event.kind, event.channel, event.number)
        was_down, is_down = key in self._down, x >= 0.5
        for rule in rules:
            if rule.relative is not None:
                yield from self._turn(rule, ticks(event.value & 0x7F, rule.relative))
            elif rule.press is not None or rule.mode in ("toggle", "next"):
                if is_down and not was_down:
                    if rule.press is not None:
                        yield str(rule.target), rule.press
                    else:
                        yield from self._toggle(rule) if rule.mode == "toggle" else self._step(rule)
            elif rule.mode == "gate":
                if is_down != was_down:
                    self._down.pop(key, None)
                    yield str(rule.target), (rule.at(1.0) if is_down else self._released(rule),)
            elif rule.takeover == "jump" or rule.switch or port == self._own:
                yield str(rule.target), (rule.at(x),)
            else:
                yield from self._take_over(rule, port, x)
        if is_down and not was_down:
            self._down[key] = [rule for rule in rules if rule.mode == "gate" and rule.press is None]
        elif not is_down:
            self._down.pop(key, None)

    def _take_over(self, rule: Rule, port: str, x: float) -> Iterator[TargetArgs]:
        hand = self._hands.setdefault((port, rule), FaderState())
        new = hand.taken(rule, x, rule.number_of(self._read(str(rule.target))))
        hand.position = x
        if new is None:
            self.counts["waiting"] += 1
            return
        hand.sent = rule.kept(rule.at(new))
        yield str(rule.target), (rule.at(new),)

    def pickups(self) -> list[dict[str, Any]]:
        """Each fader that was moved, and waits until it reaches its parameter's value: the "kind", "number", "channel"
        and "device" of its rule, its "target", and "at", the value at its position. From any thread."""
        found = []
        for (port, rule), hand in list(self._hands.items()):
            if rule.takeover != "pickup" or hand.position is None or (known := self._tables.get(port)) is None:
                continue
            value = rule.number_of(self._read(str(rule.target)))
            if known.has(rule) and hand.taken(rule, hand.position, value) is None:
                fields = ("kind", "number", "channel", "device", "target")
                at = rule.kept(rule.at(hand.position))
                found.append({**{name: getattr(rule, name) for name in fields}, "at": round(at, 6)})
        return found

    def _toggle(self, rule: Rule) -> Iterator[TargetArgs]:
        value = rule.number_of(self._read(str(rule.target)))
        low, high = rule.low, rule.high
        up = value is not None and abs(value - high) < abs(value - low)
        yield str(rule.target), (low if up else high,)

    def _step(self, rule: Rule) -> Iterator[TargetArgs]:
        """The next choice or whole number; after the last follows the first."""
        value = rule.number_of(self._read(str(rule.target)))
        low, high = min(rule.low, rule.high), max(rule.low, rule.high)
        new = low if value is None or not low <= value + 1 <= high else value + 1
        yield str(rule.target), (new,)

    def _turn(self, rule: Rule, count: int) -> Iterator[TargetArgs]:
        if not count:
            return
        target = str(rule.target)
        if rule.press is not None:
            yield target, rule.press
            return
        value = rule.number_of(self._read(target))
        if rule.switch or value is None:
            yield target, (rule.high if count > 0 else rule.low,)
            return
        if rule.whole or rule.choices:
            steps = count if abs(rule.speed) < 1 else round(count * rule.speed)
            new = value + steps * (1 if rule.high >= rule.low else -1)
            yield target, (min(max(new, min(rule.low, rule.high)), max(rule.low, rule.high)),)
            return
        position = rule.position_of(value)
        if position is not None:
            yield target, (rule.at(min(max(position + count * rule.speed / 127, 0.0), 1.0)),)


def _fields(rule: Rule) -> str:
    """What tells one mapping from another; whether it was learned does not."""
    return repr({name: value for name, value in vars(rule).items() if name != "learned"})


def thin(events: list[Any], every: Mapping[str, frozenset[tuple[str, int | None]]] | None = None) -> list[Any]:
    """Keep the last of a controller's moves in a row on one port; notes and other events stay in their order.

    events: (port, arrived_at, Event) and others, in the order of arrival. every: by port, messages that must not be
    dropped.
    """
    kept: list[Any] = []
    last_moves: dict[tuple[Any, ...], int] = {}
    for item in events:
        event = item[2] if len(item) == 3 and isinstance(item[2], Event) else None
        if event is None or event.channel == 0:  # clock messages do not separate moves
            if event is None:
                last_moves.clear()
            kept.append(item)
            continue
        kind, number = event.kind, event.number
        one = kind in MOVES and not (kind == "cc" and number >= ALL_SOUND_OFF)
        if one and not (every and {(kind, number), (kind, None)} & every.get(item[0], frozenset())):
            # Crossing the middle presses a button, so only moves on the same side of the middle supersede each other.
            key = (item[0], kind, event.channel, number)
            before = kept[last_moves[key]] if key in last_moves else None
            if before is not None and (position(before[2]) >= 0.5) == (position(event) >= 0.5):
                kept[last_moves[key]] = None
            last_moves[key] = len(kept)
        elif not one:
            last_moves.clear()
        kept.append(item)
    return [item for item in kept if item is not None]
