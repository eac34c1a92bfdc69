"""MIDI mappings: a rule for each mapping, and the table of rules for each port."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .parse import FINE_OFFSET, Encoding

Kind = Literal["note", "cc", "cc14", "nrpn", "bend", "program", "pressure", "poly"]
Mode = Literal["fader", "gate", "toggle", "enum", "next"]
Curve = Literal["linear", "log", "exp", "s"]
Takeover = Literal["pickup", "scale", "jump"]
STEEPNESS = 4.0  # of log and exp: the slopes at their two ends differ by e**4
TAKEOVER_DISTANCE = 1.5 / 127  # between fader and value: one step of 7 bits, and rounding
SCALE_MAX = 4.0  # `scale` moves the value at most so many times as far as the fader


# node/timing/easing.curved has the formula of exp and s, too: an integration imports nothing of node.
def bent(x: float, curve: Curve) -> float:
    """0..1 -> 0..1, rising. exp is flat at the low end, log at the high end, s at both."""
    if curve == "exp":
        return math.expm1(STEEPNESS * x) / math.expm1(STEEPNESS)
    if curve == "log":
        return math.log1p(x * math.expm1(STEEPNESS)) / STEEPNESS
    return x * x * (3 - 2 * x) if curve == "s" else x


def straight(y: float, curve: Curve) -> float:
    """The inverse of `bent`."""
    if curve == "exp":
        return bent(y, "log")
    if curve == "log":
        return bent(y, "exp")
    return 0.5 - math.sin(math.asin(1 - 2 * y) / 3) if curve == "s" else y


def unnumbered(port: str) -> str:
    """A port's name without the numbers that the system gives it: "2- " (Windows), " 24:0" (ALSA), " [20]" (JACK)."""
    return re.sub(r"^\d+- |\s+\d+:\d+(?=$|\s)|\s*\[\d+\]", "", port)


# Soft takeover: a fader takes over a parameter with another value without a jump. Positions are 0..1.


def pickup(before: float | None, now: float, value: float, near: float = TAKEOVER_DISTANCE) -> float | None:
    """The value's new position: the fader's, once it has reached or crossed the value; None before.

    The value never moves further than the fader, nor against it (except within `near`). A value outside the fader's
    range has the position of the nearer end.
    """
    crossed = before is not None and (before - value) * (now - value) <= 0
    return now if crossed or abs(now - value) <= near else None


def scale(before: float | None, now: float, value: float, near: float = TAKEOVER_DISTANCE) -> float | None:
    """The value's new position: it moves with the fader at once, faster or slower so that both reach the end together,
    but at most SCALE_MAX times as far. None for the first move, which only gives the fader's position."""
    if abs(now - value) <= near:
        return now
    if before is None or before == now:
        return None
    value_rest, rest = (1 - value, 1 - before) if now > before else (value, before)
    return min(max(value + (now - before) * min(value_rest / rest, SCALE_MAX), 0.0), 1.0)


@dataclass(frozen=True, eq=False)  # equal rules are different faders
class Rule:
    """One mapping. number, channel (1..16) and device (a part of the port's name): None is any.

    target: None ignores the message. A fader runs from low to high along its curve; a switch is on from the middle up;
    `press` are the arguments that a button sends. mode: gate is high while pressed; toggle alternates with each press;
    enum divides a fader's range evenly, and a button selects the next; next selects the next with each press.
    least, most: range of the parameter. whole: whether it is a whole number. choices: names of an enum.
    relative: how an encoder encodes ticks; one is 1/127 of the range times speed, or one whole number.
    watch: parameter that lights this control, by default target. shows: the value that lights it, None for a fader.
    light: "value" sends the position; a list has light states from off to full, each a velocity or [velocity,
    channel]. default: a controller's own map overrides it. learned: its control plays nothing else.
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

    def on(self, port: str, ports: Iterable[str] = ()) -> bool:
        """Whether this mapping is for a port. ports: all that are connected.

        The system numbers a controller anew each time it is connected: where no port has the number that the device's
        name has, the rest of the name counts.
        """
        if self.device is None or self.device.lower() in port.lower():
            return True
        rest = unnumbered(self.device)
        return (
            rest != ""
            and rest.lower() in unnumbered(port).lower()
            and not any(self.device.lower() in other.lower() for other in ports)
        )

    def at(self, x: float) -> float:
        """The value at a fader's position x, 0..1."""
        if self.switch:
            return float(x >= 0.5)
        if self.mode == "enum":
            count = abs(self.high - self.low) + 1
            return self.low + math.copysign(min(math.floor(x * count), count - 1), self.high - self.low)
        return self.low + bent(x, self.curve) * (self.high - self.low)

    def kept(self, value: float) -> float:
        """The value clipped to the range of the parameter."""
        return min(max(value, self.least), self.most)

    def number_of(self, value: Any) -> float | None:
        """A parameter's value as a number; None where it has none."""
        if isinstance(value, str):
            return float(self.choices.index(value)) if value in self.choices else None
        return float(value) if isinstance(value, bool | int | float) else None

    def position_of(self, value: Any) -> float | None:
        """A value's position, 0..1: the inverse of `at`. None where there is none."""
        number = self.number_of(value)
        if number is None or self.low == self.high:
            return None
        x = (number - self.low) / (self.high - self.low)
        return straight(min(max(x, 0.0), 1.0), "linear" if self.mode == "enum" else self.curve)

    @property
    def loose(self) -> float:
        """Tolerance within which a value equals the one that was sent."""
        return 0.999 if self.choices else 0.501 if self.whole else 1e-6 * max(abs(self.high - self.low), 1e-6)

    @property
    def sources(self) -> list[tuple[str, int | None]]:
        """The messages that this mapping uses, and others then do not."""
        if self.kind == "cc14" and self.number is not None:
            return [("cc14", self.number), ("cc", self.number), ("cc", self.number + FINE_OFFSET)]
        return [(self.kind, self.number), *([("cc14", self.number)] if self.kind == "cc" else [])]


@dataclass(frozen=True)
class Controller:
    """A known product.

    ports: parts of its ports' names. skip: parts of the names of ports to ignore. outputs: parts of the names of its
    outputs, by default ports. hello, bye: messages that it is sent when it is connected and when the show ends.
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
    """The rules of one port. fine: controllers of 14 bits. every: messages of which none may be dropped."""

    rules: Mapping[tuple[str, int | None], tuple[Rule, ...]] = field(default_factory=dict)
    controller: Controller | None = None
    fine: frozenset[int] = frozenset()
    nrpn: bool = False
    every: frozenset[tuple[str, int | None]] = frozenset()

    @property
    def lit(self) -> list[Rule]:
        return [rule for rules in self.rules.values() for rule in rules if rule.light is not None]

    def has(self, rule: Rule) -> bool:
        return rule in self.rules.get((rule.kind, rule.number), ())

    def find(self, kind: str, number: int | None, channel: int) -> list[Rule]:
        found = self.rules.get((kind, number), ())
        if number is not None:
            found = found + self.rules.get((kind, None), ())
        return [rule for rule in found if rule.channel in (None, channel)]


def table(
    port: str,
    rules: Iterable[Rule],
    controllers: Iterable[Controller] = (),
    feedback: Iterable[str] = (),
    ports: Iterable[str] = (),
) -> Table:
    """The show's rules for this port, and below them its controller's map, or the defaults for an unknown controller.

    A control that the show maps differently keeps the light of its controller's map. feedback: parts of the names of
    unknown ports whose controls are sent values, too. ports: all that are connected.
    """
    connected = list(ports)
    rules = [rule for rule in rules if rule.on(port, connected)]
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
