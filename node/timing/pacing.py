"""Pacing of the output clock, as pure functions that need no clock to be tested."""

from __future__ import annotations

from dataclasses import dataclass, replace

LATE_AFTER_S = 0.005  # a tick sent later than this after its due time counts as late


@dataclass(frozen=True)
class Pace:
    """State of the clock. tick: number of the next tick. Ticks are due at start + tick * den / num, without drift."""

    start: float
    num: int
    den: int = 1
    tick: int = 0
    sent: int = 0
    late: int = 0
    missed: int = 0
    worst: float = 0.0  # largest delay so far, seconds

    @property
    def period(self) -> float:
        return self.den / self.num

    @property
    def due(self) -> float:
        return self.start + self.tick * self.den / self.num


def passed(pace: Pace, now: float) -> Pace:
    """The clock after its tick was sent at `now`. Ticks whose whole period has passed are missed, and skipped."""
    behind = now - pace.due
    skipped = max(0, int(behind / pace.period))
    return replace(
        pace,
        tick=pace.tick + 1 + skipped,
        sent=pace.sent + 1,
        late=pace.late + (behind > LATE_AFTER_S),
        missed=pace.missed + skipped,
        worst=max(pace.worst, behind),
    )


def share(now: float, seen: float, span: float, period: float) -> float:
    """Weight of the newest frame in the tick at `now`, 0..1; the rest is the frame that was shown before it.

    seen: when the output first read that frame. span: seconds between world frames. The first tick of a frame already
    shows a share of it, so a change is visible at the very next tick; the last tick before the next frame shows all.
    """
    if span <= period:
        return 1.0
    return min(1.0, (now - seen + period) / span)
