"""Musical time as pure functions and values, without input or output.

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

BPM_MIN, BPM_MAX = 20.0, 300.0
PPQN = 24  # MIDI clocks a quarter note (MIDI 1.0 Detailed Specification, System Real Time)
CLOCKS_PER_SIXTEENTH = 6  # the unit of the song position
TAP_PAUSE_S = 2.5  # after which a tap starts a new series
TAPS_KEPT = 8
TAP_BOUNCE_S = 0.1  # a button that is hit once may send two messages within this time
MIDI_TIMEOUT_S = 1.0  # without a MIDI clock, after which it is no longer followed
LOCKING_CLOCKS, STEADY_CLOCKS, LOCKED_CLOCKS = (
    PPQN // 4,
    PPQN // 2,
    4 * PPQN,
)  # for an estimate, for a regular rhythm, for certainty
SLACK_S = 0.02  # a boundary that is missed by less than this is still used
JUMP_BEATS = 0.25  # a larger difference is a jump of the clock, not drift

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
    """bar: beats of a bar. phrase: bars of a phrase."""

    bar: int = 4
    phrase: int = 4

    def beats(self, unit: str) -> float:
        """Beats of a "beat", "bar" or "phrase"; 0 for any other unit."""
        return {"beat": 1.0, "bar": float(self.bar), "phrase": float(self.bar * self.phrase)}.get(unit, 0.0)


@dataclass(frozen=True)
class Span:
    """A duration in seconds, or in beats, bars or phrases at the current tempo."""

    amount: float
    unit: Unit = "s"

    @classmethod
    def parse(cls, value: object) -> Span:
        """Read 2, "1.5 s", "250 ms", "2 beats", "1/2 beat" or "1 bar". Raises ValueError for anything else."""
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)(?:\s*/\s*([0-9]+))?\s*([a-z]*)\s*", str(value).lower())
        number, over, word = match.groups() if match else ("", None, "?")
        known = _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
        if known is None or not int(over or 1):
            raise ValueError(f"{value!r} is not a duration: write seconds or beats, as in 1.5, 2 beats or 1 bar")
        unit, scale = known
        amount = float(Fraction(number) / int(over or 1) * scale)
        if amount > 3600:
            raise ValueError(f"{value} is longer than an hour, or 3600 beats")
        return cls(amount, unit)

    def __str__(self) -> str:
        """The duration as `parse` reads it."""
        return f"{Decimal(str(self.amount)):f} {self.unit}"

    def beats(self, meter: Meter) -> float | None:
        """The duration in beats; None where it is given in seconds."""
        return None if self.unit == "s" else self.amount * meter.beats(self.unit)

    def seconds(self, bpm: float, meter: Meter) -> float:
        beats = self.beats(meter)
        return self.amount if beats is None else beats * 60 / bpm


@dataclass(frozen=True)
class Line:
    """Beats against seconds: a straight line, which the tempo source replaces with each new measurement."""

    time: float = 0.0
    beat: float = 0.0
    bpm: float = 120.0

    def beat_at(self, time: float) -> float:
        return self.beat + (time - self.time) * self.bpm / 60

    def time_of(self, beat: float) -> float:
        return self.time + (beat - self.beat) * 60 / self.bpm

    def at_tempo(self, bpm: float, now: float) -> Line:
        """The line with another tempo from `now` on; the beat at `now` stays the same."""
        return Line(now, self.beat_at(now), min(max(bpm, BPM_MIN), BPM_MAX))

    def shifted(self, beats: float) -> Line:
        return replace(self, beat=self.beat + beats)


def boundary(beat: float, every: float, slack: float = 0.0) -> float:
    """The first multiple of `every` beats (> 0) that is not earlier than `beat` by more than `slack` beats."""
    near = round(beat / every) * every
    return near if abs(near - beat) <= max(slack, 1e-9) else math.ceil(beat / every) * every


def landing(line: Line, now: float, every: float, latency: float) -> float:
    """The first boundary on which a change requested at `now` can be visible, `latency` seconds being its delay."""
    return boundary(line.beat_at(now + latency), every, SLACK_S * line.bpm / 60)


def tapped(line: Line, taps: Sequence[float]) -> Line:
    """The least-squares line through taps in time order, at least two; it allows for skipped taps.

    The beat nearest to the last tap is moved onto it, so tapping the tempo again does not lose the bar.
    """
    gaps = sorted(b - a for a, b in itertools.pairwise(taps))
    if not gaps or gaps[0] < TAP_BOUNCE_S:
        return line
    short = [gap for gap in gaps if gap < 1.5 * gaps[0]]
    period = short[len(short) // 2]
    beats = [0]
    for a, b in itertools.pairwise(taps):
        beats.append(beats[-1] + max(round((b - a) / period), 1))
    middle_beat, middle = sum(beats) / len(beats), sum(taps) / len(taps)
    spread = sum((p - middle_beat) ** 2 for p in beats)
    period = sum((p - middle_beat) * (t - middle) for p, t in zip(beats, taps, strict=True)) / spread
    period = min(max(period, 60 / BPM_MAX), 60 / BPM_MIN)
    on = middle + (beats[-1] - middle_beat) * period  # of the last tap, by the line
    return Line(on, float(round(line.beat_at(on))), 60 / period)


@dataclass(frozen=True)
class MidiClock:
    """Tempo from 24 MIDI clocks a beat: a second-order phase-locked loop over their arrivals, fast at first, then
    steady.

    Every clock counts, however late it arrives, alone or with others. While clocks arrive irregularly, the loop
    continues unchanged. When they are regular again, there are three cases: they fit after all; or all are late by a
    whole number of clocks, which were lost; or the tempo has changed, and the new one is adopted at once.

    index: number of the latest clock since the start of the song. time: its estimated time. period: seconds per clock.
    fitted: clocks that fitted since the loop last restarted. drift: running mean of the error, in periods. odd: clocks
    in a row that did not fit. playing: between start and stop. fresh: the next clock gets the next index, however late
    it arrives. recent: arrival times, the latest last.
    """

    index: int = -1
    time: float = -math.inf
    period: float = 60 / (120 * PPQN)
    fitted: int = 0
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
                return replace(self, index=value * CLOCKS_PER_SIXTEENTH - 1, fresh=True)
        return self

    def _tick(self, time: float) -> MidiClock:
        now = replace(self, index=self.index + 1, fresh=False, recent=(*self.recent, time)[-STEADY_CLOCKS - 1 :])
        if self.fresh or not self.fitted:
            return replace(
                now, time=time, fitted=min(max(self.fitted, 1), LOCKING_CLOCKS), drift=0.0, odd=0, recent=(time,)
            )
        if self.fitted == 1:
            return replace(now, time=time, period=_period(time - self.time), fitted=2)
        error = (time - self.time) / self.period - 1
        if self.fitted > PPQN and abs(error) > 0.5:
            return now._odd(error)
        fitted, drift = self.fitted + 1, self.drift + 0.1 * (error - self.drift)
        if fitted > PPQN and abs(drift) > 0.2:  # more than jitter
            fitted, drift = LOCKING_CLOCKS, 0.0
        most = 1.0 if fitted <= PPQN else 0.35
        error = min(max(error, -most), most)
        phase = max(
            2 * (2 * fitted - 1) / (fitted * (fitted + 1)), 0.08
        )  # least squares at first, then a fixed bandwidth
        speed = max(6 / (fitted * (fitted + 1)), 0.08**2 / 2)
        moved = self.time + self.period * (1 + phase * error)
        return replace(
            now, time=moved, period=_period(self.period * (1 + speed * error)), fitted=fitted, drift=drift, odd=0
        )

    def _odd(self, error: float) -> MidiClock:
        """Handle a clock, counted already, that arrived `error` periods away from its expected time."""
        held = replace(self, time=self.time + self.period, odd=self.odd + 1)
        gaps = sorted(b - a for a, b in itertools.pairwise(self.recent))
        if held.odd <= STEADY_CLOCKS or len(gaps) < STEADY_CLOCKS:
            return held
        middle, spread = gaps[STEADY_CLOCKS // 2], gaps[-STEADY_CLOCKS // 4] - gaps[STEADY_CLOCKS // 4]
        if spread > 0.5 * middle or _period(middle) > 1.2 * middle:  # they arrived in a bunch
            return held
        mean = sum(gaps) / STEADY_CLOCKS
        if self.fitted > LOCKED_CLOCKS and abs(mean / self.period - 1) < 0.02:
            lost = round(error)
            return replace(held, index=held.index + lost, time=held.time + lost * self.period, odd=0)
        return replace(held, time=self.recent[-1], period=_period(mean), fitted=LOCKING_CLOCKS, drift=0.0, odd=0)

    @property
    def arrived(self) -> float:
        """When the latest clock arrived."""
        return self.recent[-1] if self.recent else -math.inf

    @property
    def line(self) -> Line | None:
        """Beats against time; None before the tempo is known."""
        return Line(self.time, self.index / PPQN, 60 / (self.period * PPQN)) if self.fitted >= LOCKING_CLOCKS else None


def _period(seconds: float) -> float:
    return min(max(seconds, 60 / (BPM_MAX * PPQN)), 60 / (BPM_MIN * PPQN))
