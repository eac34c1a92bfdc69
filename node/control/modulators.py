"""What moves faders by itself: oscillators and envelopes, as pure functions, and the few that a show plays.

A modulator adds to its target's value: depth 1 swings an oscillator over half the target's range to either side, so
from the middle over all of it; an envelope reaches over the whole range. The fader stays where the hand left it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator, model_validator

from ..parameters import MODULATORS, SHAPES, Parameter, find, nearest
from ..timing.tempo import Line, Meter, Span
from ..world.prompt_deck import smoothstep

Shape = Literal["sine", "triangle", "saw", "square", "random", "sample-and-hold", "envelope"]
PRESSED = 0.5  # what a fader has to pass to play an envelope
SHORTEST = 1 / 64  # beats a cycle: shorter ones, which nobody can see, would end beyond all numbers
LONGEST = 0.25  # seconds that an oscillator goes on by at once, after a pause of whoever moves it


def noise(seed: int, cycle: int) -> float:
    """-1..1, the same for the same arguments on every machine (SplitMix64's finaliser)."""
    z = (seed * 0x9E3779B97F4A7C15 + cycle * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return (z ^ z >> 31) / (1 << 63) - 1


def wave(shape: str, phase: float, seed: int = 0) -> float:
    """-1..1 after `phase` cycles. sine, triangle and random begin at the middle, saw at the bottom, square on top."""
    cycle = math.floor(phase)
    x = phase - cycle
    match shape:
        case "sine":
            return math.sin(2 * math.pi * x)
        case "triangle":
            return 1 - 4 * abs((x + 0.25) % 1 - 0.5)
        case "saw":
            return 2 * x - 1
        case "square":
            return 1.0 if x < 0.5 else -1.0
        case "sample-and-hold":
            return noise(seed, cycle)
        case "random":
            here, there = noise(seed, cycle), noise(seed, cycle + 1)
            return here + (there - here) * smoothstep(x)
    raise ValueError(f"there is no shape {shape!r}: there is {', '.join(SHAPES)}")


@dataclass(frozen=True)
class Envelope:
    """Attack, decay, sustain, release: times in seconds, the level 0..1.

    A trigger runs through attack and decay and lets go; a held key stays at `sustain` until it is let go.
    """

    attack: float = 0.01
    decay: float = 0.2
    sustain: float = 0.0
    release: float = 0.3

    def held(self, since: float, start: float = 0.0) -> float:
        """The level `since` seconds after the press, from `start`, while the key is held."""
        if since < self.attack:
            return start + (1 - start) * max(since, 0.0) / self.attack
        since -= self.attack
        if since < self.decay:
            return 1 - (1 - self.sustain) * since / self.decay
        return self.sustain

    def let_go(self, since: float, level: float) -> float:
        """The level `since` seconds after the key was let go at `level`."""
        return level * (1 - since / self.release) if 0 <= since < self.release else 0.0


@dataclass
class Press:
    """One key of an envelope: when it went down and from which level, and when it came up."""

    down: float = -math.inf
    start: float = 0.0
    up: float | None = -math.inf  # None while it is held

    def level(self, envelope: Envelope, now: float) -> float:
        if self.up is None or now < self.up:
            return envelope.held(now - self.down, self.start)
        if self.up == -math.inf:
            return 0.0
        return envelope.let_go(now - self.up, envelope.held(self.up - self.down, self.start))

    def press(self, envelope: Envelope, now: float, hold: bool) -> None:
        self.start, self.down = self.level(envelope, now), now
        self.up = None if hold else now + envelope.attack + envelope.decay


@dataclass
class Modulator:
    """One of the show's. spans: attack, decay, release as the show says them. on: what plays the envelope."""

    number: int
    attack: Span = field(default_factory=lambda: Span(0.01))
    decay: Span = field(default_factory=lambda: Span(0.2))
    sustain: float = 0.0
    release: Span = field(default_factory=lambda: Span(0.3))
    on: frozenset[str] = frozenset()
    phase: float = 0.0  # cycles that a free one has run
    shift: float = 0.0  # cycles by which it starts later in its wave
    press: Press = field(default_factory=Press)
    pressed: set[str] = field(default_factory=set)

    def envelope(self, bpm: float, meter: Meter) -> Envelope:
        attack, decay, release = (span.seconds(bpm, meter) for span in (self.attack, self.decay, self.release))
        return Envelope(attack, decay, self.sustain, release)


def targets_of(text: str) -> tuple[Parameter, ...]:
    """The parameters that "energy, cam/yaw" names. ValueError, saying what is right, for what cannot be moved."""
    found = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        p = find(name)
        if p is None:
            raise ValueError(f"there is no parameter {name[:80]!r}{nearest(name)}")
        if p.kind != "float" or p.local:
            raise ValueError(f"a modulator moves faders of the picture, as energy or cam/yaw, not {name}")
        found.append(p)
    return tuple(found)


Length = Annotated[Span, BeforeValidator(Span.parse), PlainSerializer(str)]


class ModulatorLine(BaseModel):
    """One of a show's `modulators`. In its order they are mod/1, mod/2, ... and everything but the times can be played.

    rate: cycles a second; or beats: beats a cycle. phase: cycles by which it starts later in its wave.
    to: one parameter or several. fire: what plays an envelope: triggers, or faders as they pass the middle.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str = ""
    shape: Shape = "sine"
    rate: float | None = Field(default=None, ge=0, le=20)
    beats: float | None = Field(default=None, gt=0, le=256)
    depth: float = Field(default=0.5, ge=-1, le=1)
    offset: float = Field(default=0.0, ge=-1, le=1)
    phase: float = Field(default=0.0, ge=-1, le=1)
    to: str | list[str]
    attack: Length = Span(0.01)
    decay: Length = Span(0.2)
    sustain: float = Field(default=0.0, ge=0, le=1)
    release: Length = Span(0.3)
    fire: list[str] = []

    @field_validator("to")
    @classmethod
    def _to(cls, to: str | list[str]) -> str:
        text = to if isinstance(to, str) else ", ".join(to)
        if not targets_of(text):
            raise ValueError("name at least one fader to move, as in energy")
        return text

    @field_validator("fire", mode="before")
    @classmethod
    def _fire(cls, fire: Any) -> Any:
        names = [fire] if isinstance(fire, str) else fire
        for name in names if isinstance(names, list) else ():
            p = find(str(name))
            if p is None or p.kind in ("text", "enum"):
                raise ValueError(f"{name!r} is neither a trigger nor a fader{nearest(str(name)) if p is None else ''}")
        return names

    @model_validator(mode="after")
    def _fits(self) -> ModulatorLine:
        if self.rate is not None and self.beats is not None:
            raise ValueError("say rate (cycles a second) or beats (beats a cycle), not both")
        if self.shape == "envelope" and (self.rate is not None or self.beats is not None):
            raise ValueError("an envelope has attack, decay, sustain and release, and no rate or beats")
        return self

    def values(self, n: int) -> dict[str, Any]:
        """What mod/<n>/... start at."""
        said = {
            "to": str(self.to), "shape": self.shape, "depth": self.depth, "offset": self.offset,
            "rate": 1.0 if self.rate is None else self.rate,
            "beats": 0.0 if self.rate is not None else self.beats or 4.0,
        }  # fmt: skip
        return {f"mod/{n}/{name}": value for name, value in said.items()}

    def modulator(self, n: int) -> Modulator:
        return Modulator(n, self.attack, self.decay, self.sustain, self.release, frozenset(self.fire), shift=self.phase)


class Modulators:
    """All modulators of a show. What they do follows from the parameters mod/<n>/..., which whoever plays may move."""

    def __init__(self, declared: Iterable[Modulator] = ()) -> None:
        self._all = {n: Modulator(n) for n in range(1, MODULATORS + 1)}
        self._all.update({m.number: m for m in declared})
        self._targets: dict[int, tuple[str, tuple[Parameter, ...]]] = {}
        self._last: float | None = None
        self._broken: list[tuple[int, Exception]] = []
        self.players = {f"mod/{n}/fire" for n in self._all}.union(*(m.on for m in self._all.values()))

    def heard(self, name: str, value: Any, now: float, line: Line, meter: Meter) -> None:
        """A control came: it may play an envelope. value: None for a trigger."""
        for n, m in self._all.items():
            if name not in m.on and name != f"mod/{n}/fire":
                continue
            envelope = m.envelope(line.bpm, meter)
            if value is None:
                m.press.press(envelope, now, hold=False)
            elif isinstance(value, bool | int | float):
                down = value > PRESSED
                if down and name not in m.pressed:
                    m.pressed.add(name)
                    m.press.press(envelope, now, hold=True)
                elif not down and name in m.pressed:
                    m.pressed.discard(name)
                    if not m.pressed and m.press.up is None:
                        m.press.up = now

    def offsets(self, values: Mapping[str, Any], now: float, line: Line, meter: Meter) -> dict[str, float]:
        """By how much each target is moved at `now`; targets that several move get the sum.

        A modulator that fails moves nothing, and is among the `broken`.
        """
        dt = 0.0 if self._last is None else min(max(now - self._last, 0.0), LONGEST)
        self._last = now
        moved: dict[str, float] = {}
        for n, m in self._all.items():
            m.phase += values[f"mod/{n}/rate"] * dt
            depth, to = values[f"mod/{n}/depth"], values[f"mod/{n}/to"]
            if not depth or not to:
                continue
            try:
                level = self._level(m, values, now, line, meter) + values[f"mod/{n}/offset"]
                named = self._named(n, to)
            except Exception as error:
                self._broken.append((n, error))
                continue
            for p in named:
                moved[p.name] = moved.get(p.name, 0.0) + depth * level * (p.high - p.low) / 2
        return moved

    def broken(self) -> list[tuple[int, Exception]]:
        """The numbers of those that failed since the last call, and why."""
        found, self._broken = self._broken, []
        return found

    def _level(self, m: Modulator, values: Mapping[str, Any], now: float, line: Line, meter: Meter) -> float:
        shape, beats = values[f"mod/{m.number}/shape"], values[f"mod/{m.number}/beats"]
        if shape == "envelope":
            return 2 * m.press.level(m.envelope(line.bpm, meter), now)
        phase = line.beat_at(now) / max(beats, SHORTEST) if beats > 0 else m.phase
        return wave(shape, phase + m.shift, m.number)

    def _named(self, n: int, to: str) -> Sequence[Parameter]:
        """A text that names nothing to be moved moves nothing: it was refused when it came."""
        text, found = self._targets.get(n, ("", ()))
        if text != to:
            try:
                found = targets_of(to)
            except ValueError:
                found = ()
            self._targets[n] = (to, found)
        return found
