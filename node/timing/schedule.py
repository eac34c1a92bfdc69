"""Scheduled cues: one that was requested and lands on a beat, and one that follows automatically. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .tempo import Line, Meter, Span, boundary, landing

DISTANCE_MIN_S = 0.02  # between a cue and the one that follows it, so that a loop of cues cannot spin


@dataclass(frozen=True)
class Waiting:
    """A scheduled item, which is to be visible at `beat`, or at `time` where beat is None.

    every: it may land on multiples of so many beats; 0 keeps its distance to the cue before. jumped: the clock's
    `jumped` when this was scheduled.
    """

    what: Any
    beat: float | None
    time: float
    every: float
    jumped: float

    def lands(self, line: Line) -> float:
        """When it is to be visible."""
        return self.time if self.beat is None else line.time_of(self.beat)


class Schedule:
    """One requested item and one that follows; a newer one replaces the older."""

    def __init__(self) -> None:
        self.asked: Waiting | None = None
        self.following: Waiting | None = None

    def ask(self, what: Any, line: Line, now: float, every: float, latency: float, jumped: float) -> None:
        """Schedule `what` for the next multiple of `every` beats that can still be met, and cancel what would
        follow."""
        self.asked = Waiting(what, landing(line, now, every, latency), 0.0, every, jumped)
        self.following = None

    def follow(self, what: Any, after: Span, line: Line, seen: float, meter: Meter, jumped: float) -> None:
        """Schedule `what` for `after` the time `seen`, at which the item before it lands."""
        beats = after.beats(meter)
        beat = None if beats is None else line.beat_at(seen) + max(beats, DISTANCE_MIN_S * line.bpm / 60)
        self.following = Waiting(what, beat, seen + max(after.amount, DISTANCE_MIN_S), 0.0, jumped)

    def clear(self) -> None:
        self.asked = self.following = None

    def rewrite(self, what: Callable[[Any], Any]) -> None:
        """Replace each item; None cancels it."""
        for name in ("asked", "following"):
            waiting: Waiting | None = getattr(self, name)
            new = None if waiting is None else what(waiting.what)
            setattr(self, name, None if waiting is None or new is None else replace(waiting, what=new))

    def due(self, line: Line, now: float, latency: float, jumped: float) -> list[tuple[Any, float]]:
        """Items to start now so that they land in time, each with its landing time, in that order. Each is returned
        once."""
        found = []
        for name in ("asked", "following"):
            waiting: Waiting | None = getattr(self, name)
            if waiting is None:
                continue
            if waiting.beat is not None and waiting.jumped != jumped:
                beat = waiting.beat + jumped - waiting.jumped
                beat = boundary(line.beat_at(now + latency), waiting.every) if waiting.every else beat
                waiting = Waiting(waiting.what, beat, waiting.time, waiting.every, jumped)
                setattr(self, name, waiting)
            if now >= waiting.lands(line) - latency:
                setattr(self, name, None)
                found.append((waiting.what, waiting.lands(line)))
        return sorted(found, key=lambda one: one[1])
