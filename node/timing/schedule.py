"""What waits for its moment: a cue that was asked for and lands on a beat, and the one that follows by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .tempo import Line, Meter, Span, boundary, landing

LEAST = 0.02  # seconds between a cue and the one that follows it: a show that goes round must not spin


@dataclass(frozen=True)
class Waiting:
    """what: whatever shall be done. It is seen at `beat`, or at `time` where that is None.

    every: beats between the places where it may land; 0 for one that keeps its distance. jumped: the clock's, then.
    """

    what: Any
    beat: float | None
    time: float
    every: float
    jumped: float

    def lands(self, line: Line) -> float:
        """When it is to be seen."""
        return self.time if self.beat is None else line.time_of(self.beat)


class Schedule:
    """One that was asked for, and one that follows; a newer one takes the place of the older."""

    def __init__(self) -> None:
        self.asked: Waiting | None = None
        self.following: Waiting | None = None

    def ask(self, what: Any, line: Line, now: float, every: float, latency: float, jumped: float) -> None:
        """Let it land on the next multiple of `every` beats that can still be met. Who asks does not wait to follow."""
        self.asked = Waiting(what, landing(line, now, every, latency), 0.0, every, jumped)
        self.following = None

    def follow(self, what: Any, after: Span, line: Line, seen: float, meter: Meter, jumped: float) -> None:
        """Let it land so long after `seen`, the moment at which the one before lands."""
        beats = after.beats(meter)
        beat = None if beats is None else line.beat_at(seen) + max(beats, LEAST * line.bpm / 60)
        self.following = Waiting(what, beat, seen + max(after.amount, LEAST), 0.0, jumped)

    def clear(self) -> None:
        self.asked = self.following = None

    def due(self, line: Line, now: float, latency: float, jumped: float) -> list[tuple[Any, float]]:
        """What is to be done now so that it lands in time, and when it lands; each once, in the order of landing."""
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
