"""What a controller's messages do: one rule a mapping, and the rules that each port follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .parse import FINE, Encoding

Kind = Literal["note", "cc", "cc14", "nrpn", "bend", "program", "pressure", "poly"]
Mode = Literal["fader", "gate", "toggle", "enum", "next"]
Curve = Literal["linear", "log", "exp", "s"]
Takeover = Literal["pickup", "scale", "jump"]
STEEP = 4.0  # of log and exp: the slopes at their two ends differ by e**4
NEAR = 1.5 / 127  # from here on a fader is at the value: one step of 7 bits, and what rounding may cost
MOST = 4.0  # times as far as the hand that `scale` moves the value at most


def bent(x: float, curve: Curve) -> float:
    """0..1 -> 0..1, rising. exp is fine at the low end, log at the high end, s at both."""
    if curve == "exp":
        return math.expm1(STEEP * x) / math.expm1(STEEP)
    if curve == "log":
        return math.log1p(x * math.expm1(STEEP)) / STEEP
    return x * x * (3 - 2 * x) if curve == "s" else x


def straight(y: float, curve: Curve) -> float:
    """The inverse of `bent`."""
    if curve == "exp":
        return bent(y, "log")
    if curve == "log":
        return bent(y, "exp")
    return 0.5 - math.sin(math.asin(1 - 2 * y) / 3) if curve == "s" else y


# Soft takeover: a fader whose position is not the parameter's value takes it over without a jump. Positions are 0..1.


def pickup(before: float | None, now: float, value: float, near: float = NEAR) -> float | None:
    """The value's new position: the fader's, once it has reached or crossed the value; None while it has not.

    The value never moves further than the hand did, nor against it (`near` aside). One that is outside the fader's
    range has the place of the nearer end.
    """
    crossed = before is not None and (before - value) * (now - value) <= 0
    return now if crossed or abs(now - value) <= near else None


def scale(before: float | None, now: float, value: float, near: float = NEAR) -> float | None:
    """The value's new position: it moves with the hand at once, so much faster or slower that both reach the end
    together; never more than MOST times as far as the hand. None for the first move, which tells where the hand is."""
    if abs(now - value) <= near:
        return now
    if before is None or before == now:
        return None
    room, way = (1 - value, 1 - before) if now > before else (value, before)
    return min(max(value + (now - before) * min(room / way, MOST), 0.0), 1.0)


@dataclass(frozen=True, eq=False)  # two rules that say the same are still two: each fader has its own hand
class Rule:
    """One mapping. number, channel (1..16) and device (a part of the port's name): None is any.

    target: None silences the message. A fader runs from low to high along its curve; a switch is on from the middle
    up; `press` is what a button sends each time. mode: gate is high while pressed; toggle changes sides with each
    press; enum divides a fader's way evenly and steps a button on; next steps on with each press.
    least, most: what the parameter keeps a value within. whole: it keeps whole numbers. choices: an enum's names.
    relative: how an encoder says its ticks; one is 1/127 of the way times speed, or one whole number.
    watch: the parameter that lights this control, target if empty; shows: the value that lights it, None for a fader.
    light: "value" sends the position back; a list is what to light it with, from off to full, each a velocity or
    [velocity, channel]. default: gives way to a controller's own map. learned: nothing else is played by its control.
    """

    kind: Kind
    number: int | None
    target: str | None
    low: float = 0.0
    high: float = 1.0
    channel: int | None = None
    device: str | None = None
    press: tuple[Any, ...] | None = None
    switch: bool = False
    mode: Mode = "fader"
    curve: Curve = "linear"
    takeover: Takeover = "jump"
    relative: Encoding | None = None
    speed: float = 1.0
    least: float = -math.inf
    most: float = math.inf
    whole: bool = False
    choices: tuple[str, ...] = ()
    watch: str = ""
    shows: Any = None
    light: str | Sequence[Any] | None = None
    default: bool = False
    learned: bool = False

    def on(self, port: str) -> bool:
        return self.device is None or self.device.lower() in port.lower()

    def at(self, x: float) -> float:
        """The value at a fader's position x, 0..1."""
        if self.switch:
            return float(x >= 0.5)
        if self.mode == "enum":
            count = abs(self.high - self.low) + 1
            return self.low + math.copysign(min(math.floor(x * count), count - 1), self.high - self.low)
        return self.low + bent(x, self.curve) * (self.high - self.low)

    def kept(self, value: float) -> float:
        """What the parameter makes of it."""
        return min(max(value, self.least), self.most)

    def number_of(self, value: Any) -> float | None:
        """A parameter's value as a number; None for what is none."""
        if isinstance(value, str):
            return float(self.choices.index(value)) if value in self.choices else None
        return float(value) if isinstance(value, bool | int | float) else None

    def place(self, value: Any) -> float | None:
        """A value's position, 0..1: the inverse of `at`. None where there is none."""
        number = self.number_of(value)
        if number is None or self.low == self.high:
            return None
        x = (number - self.low) / (self.high - self.low)
        return straight(min(max(x, 0.0), 1.0), "linear" if self.mode == "enum" else self.curve)

    @property
    def loose(self) -> float:
        """How far a value may be from what was sent and still be it."""
        return 0.999 if self.choices else 0.501 if self.whole else 1e-6 * max(abs(self.high - self.low), 1e-6)

    @property
    def sources(self) -> list[tuple[str, int | None]]:
        """The messages that this mapping takes away from others."""
        if self.kind == "cc14" and self.number is not None:
            return [("cc14", self.number), ("cc", self.number), ("cc", self.number + FINE)]
        return [(self.kind, self.number), *([("cc14", self.number)] if self.kind == "cc" else [])]


@dataclass(frozen=True)
class Controller:
    """What is known of one product.

    ports: parts of its ports' names; skip: parts of those that are left alone; outputs: of those that light it, the
    same as ports if empty. hello, bye: messages that it is sent when it comes and when the show ends.
    """

    name: str
    ports: tuple[str, ...]
    skip: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    hello: tuple[tuple[int, ...], ...] = ()
    bye: tuple[tuple[int, ...], ...] = ()
    rules: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Controller:
        return cls(**{**data, "rules": tuple(Rule(**rule) for rule in data.get("rules", ()))})

    def named(self, port: str) -> bool:
        return any(part.lower() in port.lower() for part in self.ports)

    def skips(self, port: str) -> bool:
        return any(part.lower() in port.lower() for part in self.skip)


@dataclass(frozen=True)
class Table:
    """The rules of one port. fine: controllers of 14 bits. every: the messages of which none may be left out."""

    rules: Mapping[tuple[str, int | None], tuple[Rule, ...]] = field(default_factory=dict)
    controller: Controller | None = None
    fine: frozenset[int] = frozenset()
    nrpn: bool = False
    every: frozenset[tuple[str, int | None]] = frozenset()

    @property
    def lit(self) -> list[Rule]:
        return [rule for rules in self.rules.values() for rule in rules if rule.light is not None]

    def find(self, kind: str, number: int | None, channel: int) -> list[Rule]:
        found = self.rules.get((kind, number), ())
        if number is not None:
            found = found + self.rules.get((kind, None), ())
        return [rule for rule in found if rule.channel in (None, channel)]


def table(
    port: str, rules: Iterable[Rule], controllers: Iterable[Controller] = (), feedback: Iterable[str] = ()
) -> Table:
    """The show's rules for this port over its controller's map, or over the defaults where it is none that is known.

    A control that the show maps anew keeps the light that its controller's map gives it. feedback: parts of the names
    of unknown ports whose controls show values, too.
    """
    rules = [rule for rule in rules if rule.on(port)]
    known = next((c for c in controllers if c.named(port)), None)
    own = [rule for rule in rules if not rule.default]
    learned = {source for rule in own if rule.learned for source in rule.sources}
    own = [rule for rule in own if rule.learned or (rule.kind, rule.number) not in learned]
    below = [rule for rule in rules if rule.default]
    if known is not None:
        below = [] if known.skips(port) else list(known.rules)
        lights = {(rule.kind, rule.number): rule.light for rule in below}
        own = [replace(r, light=lights.get((r.kind, r.number))) if r.light is None else r for r in own]
    elif any(part.lower() in port.lower() for part in feedback):
        own, below = ([replace(r, light=r.light or _plain_light(r)) for r in group] for group in (own, below))
    taken = {source for rule in own for source in rule.sources}
    below = [rule for rule in below if (rule.kind, rule.number) not in taken]
    taken = {source for rule in below if rule.kind == "cc14" for source in rule.sources[1:]}
    below = [rule for rule in below if (rule.kind, rule.number) not in taken]
    grouped: dict[tuple[str, int | None], list[Rule]] = {}
    for rule in (*own, *below):
        if rule.target is not None:
            grouped.setdefault((rule.kind, rule.number), []).append(rule)
    return Table(
        {key: tuple(group) for key, group in grouped.items()},
        None if known is None or known.skips(port) else known,
        frozenset(number for kind, number in grouped if kind == "cc14" and number is not None),
        any(kind == "nrpn" for kind, _ in grouped),
        frozenset(key for key, group in grouped.items() if any(rule.relative for rule in group)),
    )


def _plain_light(rule: Rule) -> str | tuple[int, ...] | None:
    return {"note": (0, 127), "cc": "value", "cc14": "value", "bend": "value"}.get(rule.kind)  # type: ignore[return-value]
