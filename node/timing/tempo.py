"""Musical time, as pure functions and small values: time is an argument, nothing is heard or sent here.

A beat is a quarter note and a float that only grows; beat 0 begins a bar and a phrase. Seconds are time.monotonic()'s.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

SLOWEST, FASTEST = 20.0, 300.0  # bpm
PPQN = 24  # MIDI clocks a quarter note (MIDI 1.0 Detailed Specification, System Real Time)
SIXTEENTH = 6  # MIDI clocks a step of the song position
PAUSE = 2.5  # seconds after which a tap begins anew
TAPS = 8  # the latest that count
BOUNCE = 0.1  # seconds in which a button that is hit once may say so twice
LOST = 1.0  # seconds of silence after which there is no MIDI clock any more
LOCKING, STEADY, LOCKED = PPQN // 4, PPQN // 2, 4 * PPQN  # clocks: for a first guess, for a rhythm, for certainty
SLACK = 0.02  # a boundary that would be missed by less than this is still taken
JUMP = 0.25  # beats; a clock that is further off than this has jumped, and did not drift

Unit = Literal["s", "beat", "bar", "phrase"]
Quantise = Literal["none", "beat", "bar", "phrase"]
QUANTISE: tuple[Quantise, ...] = ("none", "beat", "bar", "phrase")
_UNITS: dict[str, tuple[Unit, Fraction]] = {
    "": ("s", Fraction(1)), "s": ("s", Fraction(1)), "sec": ("s", Fraction(1)), "second": ("s", Fraction(1)),
    "ms": ("s", Fraction(1, 1000)), "min": ("s", Fraction(60)), "beat": ("beat", Fraction(1)),
    "bar": ("bar", Fraction(1)), "phrase": ("phrase", Fraction(1)),
}  # fmt: skip


@dataclass(frozen=True)
class Meter:
    """bar: beats in one. phrase: bars in one."""

    bar: int = 4
    phrase: int = 4

    def beats(self, unit: str) -> float:
        """Of a "beat", "bar" or "phrase"; 0 for anything else."""
        return {"beat": 1.0, "bar": float(self.bar), "phrase": float(self.bar * self.phrase)}.get(unit, 0.0)


@dataclass(frozen=True)
class Span:
    """A length of time: seconds, or beats, bars, phrases at whatever tempo there is."""

    amount: float
    unit: Unit = "s"

    @classmethod
    def parse(cls, value: object) -> Span:
        """2, "1.5 s", "250 ms", "2 beats", "1/2 beat", "1 bar". ValueError says what is right."""
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)(?:\s*/\s*([0-9]+))?\s*([a-z]*)\s*", str(value).lower())
        number, over, word = match.groups() if match else ("", None, "?")
        known = _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
        if known is None or not int(over or 1):
            raise ValueError(f"a length of time is seconds or beats, as in 1.5, 2 beats or 1 bar, not {value!r}")
        unit, scale = known
        amount = float(Fraction(number) / int(over or 1) * scale)
        if amount > 3600:
            raise ValueError(f"{value} is longer than an hour, or 3600 beats")
        return cls(amount, unit)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{Decimal(str(self.amount)):f} {self.unit}"

    def beats(self, meter: Meter) -> float | None:
        """None where it is said in seconds."""
        return None if self.unit == "s" else self.amount * meter.beats(self.unit)

    def seconds(self, bpm: float, meter: Meter) -> float:
        beats = self.beats(meter)
        return self.amount if beats is None else beats * 60 / bpm


@dataclass(frozen=True)
class Line:
    """Beats against seconds: a straight line, which whoever keeps the tempo replaces as it hears more."""

    time: float = 0.0
    beat: float = 0.0
    bpm: float = 120.0

    def beat_at(self, time: float) -> float:
        return self.beat + (time - self.time) * self.bpm / 60

    def time_of(self, beat: float) -> float:
        return self.time + (beat - self.beat) * 60 / self.bpm

    def at_tempo(self, bpm: float, now: float) -> Line:
        """Another tempo from `now` on; the beat goes on from where it is."""
        return Line(now, self.beat_at(now), min(max(bpm, SLOWEST), FASTEST))

    def shifted(self, beats: float) -> Line:
        return replace(self, beat=self.beat + beats)


def boundary(beat: float, every: float, slack: float = 0.0) -> float:
    """The first multiple of `every` beats that is not before `beat`, give or take `slack` beats. every > 0."""
    near = round(beat / every) * every
    return near if abs(near - beat) <= max(slack, 1e-9) else math.ceil(beat / every) * every


def landing(line: Line, now: float, every: float, latency: float) -> float:
    """The boundary on which a change asked for at `now` can first be seen, if it takes `latency` seconds to show."""
    return boundary(line.beat_at(now + latency), every, SLACK * line.bpm / 60)


def tapped(line: Line, taps: Sequence[float]) -> Line:
    """The line through taps in time order, least squares; a tap left out is counted. Two taps are the least.

    The beat nearest to the last tap is put on it, so that a tempo tapped again does not lose the bar.
    """
    gaps = sorted(b - a for a, b in itertools.pairwise(taps))
    if not gaps or gaps[0] < BOUNCE:
        return line
    short = [gap for gap in gaps if gap < 1.5 * gaps[0]]
    period = short[len(short) // 2]
    places = [0]
    for a, b in itertools.pairwise(taps):
        places.append(places[-1] + max(round((b - a) / period), 1))
    middle_place, middle = sum(places) / len(places), sum(taps) / len(taps)
    spread = sum((p - middle_place) ** 2 for p in places)
    period = sum((p - middle_place) * (t - middle) for p, t in zip(places, taps, strict=True)) / spread
    period = min(max(period, 60 / FASTEST), 60 / SLOWEST)
    on = middle + (places[-1] - middle_place) * period  # where the last tap was meant
    return Line(on, float(round(line.beat_at(on))), 60 / period)


@dataclass(frozen=True)
class MidiClock:
    """What 24 clocks a beat say: a second-order phase-locked loop over their arrivals, fast at first, then steady.

    Every clock counts, however late it comes, in a bunch or alone. While clocks come at odd moments the loop runs on
    as it was. When they are regular again, they either fit after all; or all are late by so many clocks, which were
    lost then; or the tempo is another one, and is taken up at once.

    index: of the latest clock since the song's beginning. time: when it was, by estimate. period: seconds a clock.
    heard: clocks that fitted, in this run. drift: the error's running mean, in periods. odd: clocks in a row that did
    not fit. playing: between start and stop. fresh: the next clock is the next index, however long it takes to come.
    recent: arrivals, the latest last.
    """

    index: int = -1
    time: float = -math.inf
    period: float = 60 / (120 * PPQN)
    heard: int = 0
    drift: float = 0.0
    odd: int = 0
    playing: bool = False
    fresh: bool = True
    recent: tuple[float, ...] = ()

    def event(self, kind: str, time: float, value: int = 0) -> MidiClock:
        """kind: tick, start, stop, continue, or position (`value` in sixteenths). Anything else changes nothing."""
        match kind:
            case "tick":
                return self._tick(time)
            case "start":  # the next clock is beat 0
                return replace(self, index=-1, playing=True, fresh=True)
            case "continue":
                return replace(self, playing=True, fresh=True)
            case "stop":
                return replace(self, playing=False)
            case "position":
                return replace(self, index=value * SIXTEENTH - 1, fresh=True)
        return self

    def _tick(self, time: float) -> MidiClock:
        now = replace(self, index=self.index + 1, fresh=False, recent=(*self.recent, time)[-STEADY - 1 :])
        if self.fresh or not self.heard:
            return replace(now, time=time, heard=min(max(self.heard, 1), LOCKING), drift=0.0, odd=0, recent=(time,))
        if self.heard == 1:
            return replace(now, time=time, period=_period(time - self.time), heard=2)
        error = (time - self.time) / self.period - 1
        if self.heard > PPQN and abs(error) > 0.5:
            return now._odd(error)
        heard, drift = self.heard + 1, self.drift + 0.1 * (error - self.drift)
        if heard > PPQN and abs(drift) > 0.2:  # not jitter any more
            heard, drift = LOCKING, 0.0
        most = 1.0 if heard <= PPQN else 0.35
        error = min(max(error, -most), most)
        phase = max(2 * (2 * heard - 1) / (heard * (heard + 1)), 0.08)  # least squares at first, then a fixed band
        speed = max(6 / (heard * (heard + 1)), 0.08**2 / 2)
        moved = self.time + self.period * (1 + phase * error)
        return replace(
            now, time=moved, period=_period(self.period * (1 + speed * error)), heard=heard, drift=drift, odd=0
        )

    def _odd(self, error: float) -> MidiClock:
        """A clock that did not fit, `error` periods from where it should have been. Counted already."""
        held = replace(self, time=self.time + self.period, odd=self.odd + 1)
        gaps = sorted(b - a for a, b in itertools.pairwise(self.recent))
        if held.odd <= STEADY or len(gaps) < STEADY:
            return held
        middle, spread = gaps[STEADY // 2], gaps[-STEADY // 4] - gaps[STEADY // 4]
        if spread > 0.5 * middle or _period(middle) > 1.2 * middle:  # a bunch of them: still odd
            return held
        mean = sum(gaps) / STEADY
        if self.heard > LOCKED and abs(mean / self.period - 1) < 0.02:
            lost = round(error)
            return replace(held, index=held.index + lost, time=held.time + lost * self.period, odd=0)
        return replace(held, time=self.recent[-1], period=_period(mean), heard=LOCKING, drift=0.0, odd=0)

    @property
    def arrived(self) -> float:
        """When the latest clock came."""
        return self.recent[-1] if self.recent else -math.inf

    @property
    def line(self) -> Line | None:
        """None before the tempo is known."""
        return Line(self.time, self.index / PPQN, 60 / (self.period * PPQN)) if self.heard >= LOCKING else None


def _period(seconds: float) -> float:
    return min(max(seconds, 60 / (FASTEST * PPQN)), 60 / (SLOWEST * PPQN))
