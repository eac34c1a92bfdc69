"""Events to controls: which notes are held, which buttons are down, where each fader is. No ports, no time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .parse import ALL_NOTES_OFF, ALL_SOUND_OFF, Event, fraction, ticks
from .rules import NEAR, Controller, Rule, Table, pickup, scale, table

TargetArgs = tuple[str, tuple[Any, ...]]  # a target and its arguments
MOVES = ("cc", "cc14", "nrpn", "bend", "pressure")


@dataclass
class FaderState:
    """A fader as its rule knows it. position: 0..1, None before its first message. sent: the value it gave last."""

    position: float | None = None
    sent: float | None = None


def nothing(_target: str) -> Any:
    return None


def position(event: Event) -> float:
    """0..1, with the middle at 0.5."""
    if event.kind in ("cc14", "nrpn", "bend"):
        return fraction(event.value, 0, 8192, 16383)
    return fraction(event.value, 0, 64, 127) if event.kind == "cc" else event.value / 127


class Translator:
    """What every port's messages mean by its table. read: a parameter's present value, None where there is none.

    own: the port on which other programs play us. Their faders have no hands, so nothing is taken over softly there.
    feedback: parts of the names of unknown ports that show values.
    A note plays its pad with velocity as weight and aftertouch rides it; a pitch wheel runs from low over the middle
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
        self._held: dict[tuple[str, int, int], list[Rule]] = {}  # by port, channel, note: what it holds up
        self._down: dict[tuple[str, str, int, int], list[Rule]] = {}  # pressed controllers, and the gates they hold
        self._hands: dict[tuple[str, Rule], FaderState] = {}
        self.counts: Counter[str] = Counter()

    @property
    def held(self) -> int:
        return len(self._held)

    def table(self, port: str) -> Table:
        known = self._tables.get(port)
        if known is None:
            known = self._tables[port] = table(port, self._rules, self._controllers, self._feedback)
        return known

    def add(self, rule: Rule) -> None:
        """A mapping that was learned; it takes the place of an earlier one of the same control."""
        place = (rule.kind, rule.number, rule.channel, rule.device)
        self._rules = [r for r in self._rules if r.default or (r.kind, r.number, r.channel, r.device) != place]
        self._rules.insert(0, rule)
        self._tables.clear()

    def play(self, event: Event, port: str) -> Iterator[TargetArgs]:
        """(target, args) for each thing that the event means. Obey each before asking for the next."""
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
        elif kind == "cc" and event.number in (ALL_SOUND_OFF, ALL_NOTES_OFF):  # a sequencer says so when it stops
            yield from self._release([key for key in self._held if key[:2] == (port, channel)])
        elif kind in MOVES:
            yield from self._move(event, port, rules)

    def release(self, port: str | None = None) -> Iterator[TargetArgs]:
        """A port, or all of them, went away: nobody will send its note-offs."""
        for key in [key for key in self._down if port is None or key[0] == port]:
            for rule in self._down.pop(key):
                yield str(rule.target), (rule.at(0.0),)
        yield from self._release([key for key in self._held if port is None or key[0] == port])
        for hand in [hand for hand in self._hands if port is None or hand[0] == port]:
            del self._hands[hand]
        for known in [known for known in self._tables if port is None or known == port]:
            del self._tables[known]

    def _note_on(self, event: Event, port: str, rules: list[Rule]) -> Iterator[TargetArgs]:
        holding = [rule for rule in rules if rule.press is None and rule.mode in ("fader", "gate")]
        if holding:
            self._held[port, event.channel, event.number] = holding
        for rule in rules:
            if rule.press is not None:
                yield str(rule.target), rule.press
            elif rule.mode in ("toggle", "enum", "next"):
                yield from self._toggle(rule) if rule.mode == "toggle" else self._step(rule)
            else:
                full = rule.switch or rule.mode == "gate"
                yield str(rule.target), (rule.at(1.0 if full else event.value / 127),)

    def _release(self, keys: list[tuple[str, int, int]]) -> Iterator[TargetArgs]:
        for key in keys:
            for rule in self._held.pop(key, []):
                yield str(rule.target), (rule.at(0.0),)

    def _ride(self, keys: list[tuple[str, int, int]], x: float) -> Iterator[TargetArgs]:
        for key in keys:
            for rule in self._held.get(key, []):
                if not rule.switch and rule.mode != "gate":
                    yield str(rule.target), (rule.at(x),)

    def _move(self, event: Event, port: str, rules: list[Rule]) -> Iterator[TargetArgs]:
        if not rules:
            return
        x = position(event)
        key = (port, event.kind, event.channel, event.number)
        was, now = key in self._down, x >= 0.5
        for rule in rules:
            if rule.relative is not None:
                yield from self._turn(rule, ticks(event.value & 0x7F, rule.relative))
            elif rule.press is not None or rule.mode in ("toggle", "next"):
                if now and not was:
                    if rule.press is not None:
                        yield str(rule.target), rule.press
                    else:
                        yield from self._toggle(rule) if rule.mode == "toggle" else self._step(rule)
            elif rule.mode == "gate":
                if now != was:
                    yield str(rule.target), (rule.at(float(now)),)
            elif rule.takeover == "jump" or rule.switch or port == self._own:
                yield str(rule.target), (rule.at(x),)
            else:
                yield from self._take_over(rule, port, x)
        if now and not was:
            self._down[key] = [rule for rule in rules if rule.mode == "gate" and rule.press is None]
        elif not now:
            self._down.pop(key, None)

    def _take_over(self, rule: Rule, port: str, x: float) -> Iterator[TargetArgs]:
        hand = self._hands.setdefault((port, rule), FaderState())
        before, hand.position = hand.position, x
        value = rule.number_of(self._read(str(rule.target)))
        place = None if value is None else rule.place(value)
        if value is None or place is None:
            new: float | None = x
        elif hand.sent == rule.kept(rule.at(before or 0.0)) and abs(value - hand.sent) <= rule.loose:
            new = x  # it was held here, and nobody moved it since
        else:
            # Where a curve is steep, what is near on the fader may be far in the picture.
            near = NEAR if abs(rule.at(x) - value) <= NEAR * abs(rule.high - rule.low) else 0.0
            new = (scale if rule.takeover == "scale" else pickup)(before, x, place, near)
            if new is None and abs(rule.kept(rule.at(x)) - value) <= rule.loose:
                new = x  # a whole number is the same over a part of the fader's way
        if new is None:
            self.counts["waiting"] += 1
            return
        hand.sent = rule.kept(rule.at(new))
        yield str(rule.target), (rule.at(new),)

    def _toggle(self, rule: Rule) -> Iterator[TargetArgs]:
        value = rule.number_of(self._read(str(rule.target)))
        low, high = rule.low, rule.high
        up = value is not None and abs(value - high) < abs(value - low)
        yield str(rule.target), (low if up else high,)

    def _step(self, rule: Rule) -> Iterator[TargetArgs]:
        """The next choice, or whole number, and the first after the last."""
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
        place = rule.place(value)
        if place is not None:
            yield target, (rule.at(min(max(place + count * rule.speed / 127, 0.0), 1.0)),)


def thin(events: list[Any], every: Mapping[str, frozenset[tuple[str, int | None]]] | None = None) -> list[Any]:
    """Of one controller's moves in a row on one port, the last; notes and all else stay in their order.

    events: (port, arrived_at, Event) and others, in the order of arrival. every: by port, what must not be left out.
    """
    kept: list[Any] = []
    places: dict[tuple[Any, ...], int] = {}
    for item in events:
        event = item[2] if len(item) == 3 and isinstance(item[2], Event) else None
        if event is None or event.channel == 0:  # the clock's are in nobody's way
            if event is None:
                places.clear()
            kept.append(item)
            continue
        kind, number = event.kind, event.number
        one = kind in MOVES and not (kind == "cc" and number >= ALL_SOUND_OFF)
        if one and not (every and {(kind, number), (kind, None)} & every.get(item[0], frozenset())):
            # A button's way through the middle is news, so a side of the middle is part of what is superseded.
            key = (item[0], kind, event.channel, number)
            before = kept[places[key]] if key in places else None
            if before is not None and (position(before[2]) >= 0.5) == (position(event) >= 0.5):
                kept[places[key]] = None
            places[key] = len(kept)
        elif not one:
            places.clear()
        kept.append(item)
    return [item for item in kept if item is not None]
