"""Pacing of the output clock, as pure functions that need no clock to be tested."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LATE_AFTER_S = 0.005  # a tick sent later than this after its due time counts as late
# Periods between the frames of a world that is nearly as fast as the clock: in-betweens would show most of the newest
# frame anyway, and to make them takes a third of a tick.
NEARLY_EVERY_TICK = 1.25
LOCK_SHARE = 0.85  # of a period; a step that takes longer does not wait for the clock
LOCK_MARGIN_S = 0.002  # by which a frame is ready before the clock takes it


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


def step_start(now: float, took: float, taken_at: float, period: float) -> float:
    """When to start the world's next step so that it obeys the latest controls and its frame is just in time.

    took: seconds that a step takes, at most LOCK_SHARE of a period. taken_at: a time at which the clock takes a frame,
    as it does every `period` seconds before and after.
    """
    ready_at = taken_at - LOCK_MARGIN_S
    ticks = math.ceil((now + took - ready_at) / period - 1e-9)
    return ready_at + ticks * period - took


def share(now: float, seen: float, span: float, period: float) -> float:
    """Weight of the newest frame in the tick at `now`, 0..1; the rest is the frame that was shown before it.

    seen: when the output first read that frame. span: seconds between world frames. The first tick of a frame already
    shows a share of it, so a change is visible at the very next tick; the last tick before the next frame shows all.
    """
    if span <= NEARLY_EVERY_TICK * period:
        return 1.0
    return min(1.0, (now - seen + period) / span)
