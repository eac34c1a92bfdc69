"""Oscillators and envelopes that modulate parameters, as pure functions of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..parameters import SHAPES
from .easing import smoothstep
from .tempo import Meter, Span


def noise(seed: int, cycle: int) -> float:
    """-1..1, the same for the same arguments on every machine (SplitMix64's finaliser)."""
    z = (seed * 0x9E3779B97F4A7C15 + cycle * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return (z ^ z >> 31) / (1 << 63) - 1


def wave(shape: str, phase: float, seed: int = 0) -> float:
    """-1..1 after `phase` cycles. sine and triangle start at 0, saw at -1, square at 1."""
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
    """ADSR envelope: attack, decay and release in seconds, sustain a level 0..1.

    A trigger runs through attack and decay, and is then released; a held key stays at `sustain` until it is released.
    """

    attack: float = 0.01
    decay: float = 0.2
    sustain: float = 0.0
    release: float = 0.3

    def held(self, since: float, start: float = 0.0) -> float:
        """The level `since` seconds after the press, which began at level `start`, while the key is held."""
        if since < self.attack:
            return start + (1 - start) * max(since, 0.0) / self.attack
        since -= self.attack
        if since < self.decay:
            return 1 - (1 - self.sustain) * since / self.decay
        return self.sustain

    def released(self, since: float, level: float) -> float:
        """The level `since` seconds after the release at `level`."""
        return level * (1 - since / self.release) if 0 <= since < self.release else 0.0


@dataclass
class Press:
    """One key of an envelope: when it was pressed, from which level, and when it was released."""

    down: float = -math.inf
    start: float = 0.0
    up: float | None = -math.inf  # None while it is held

    def level(self, envelope: Envelope, now: float) -> float:
        if self.up is None or now < self.up:
            return envelope.held(now - self.down, self.start)
        if self.up == -math.inf:
            return 0.0
        return envelope.released(now - self.up, envelope.held(self.up - self.down, self.start))

    def press(self, envelope: Envelope, now: float, hold: bool) -> None:
        self.start, self.down = self.level(envelope, now), now
        self.up = None if hold else now + envelope.attack + envelope.decay


@dataclass
class Modulator:
    """State of one modulator of the show. on: names of the controls that trigger its envelope."""

    number: int
    attack: Span = field(default_factory=lambda: Span(0.01))
    decay: Span = field(default_factory=lambda: Span(0.2))
    sustain: float = 0.0
    release: Span = field(default_factory=lambda: Span(0.3))
    on: frozenset[str] = frozenset()
    phase: float = 0.0  # cycles that a free-running oscillator has completed
    shift: float = 0.0  # cycles by which the wave is shifted
    press: Press = field(default_factory=Press)
    pressed: set[str] = field(default_factory=set)

    def envelope(self, bpm: float, meter: Meter) -> Envelope:
        attack, decay, release = (span.seconds(bpm, meter) for span in (self.attack, self.decay, self.release))
        return Envelope(attack, decay, self.sustain, release)
