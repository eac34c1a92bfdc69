"""Time on the output clock, as pure functions: testable without a clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

LATE = 0.005  # seconds after its due time from which a tick counts as late


@dataclass(frozen=True)
class Pace:
    """The clock at one moment. tick is the next one to send; ticks are due at start + tick * den / num: no drift."""

    start: float
    num: int
    den: int = 1
    tick: int = 0
    sent: int = 0
    late: int = 0
    missed: int = 0
    worst: float = 0.0  # seconds behind, ever

    @property
    def period(self) -> float:
        return self.den / self.num

    @property
    def due(self) -> float:
        return self.start + self.tick * self.den / self.num


def passed(pace: Pace, now: float) -> Pace:
    """The tick was sent at `now`. Ticks whose whole period went by meanwhile are missed, and skipped."""
    behind = now - pace.due
    skipped = max(0, int(behind / pace.period))
    return replace(
        pace,
        tick=pace.tick + 1 + skipped,
        sent=pace.sent + 1,
        late=pace.late + (behind > LATE),
        missed=pace.missed + skipped,
        worst=max(pace.worst, behind),
    )


def share(now: float, seen: float, span: float, period: float) -> float:
    """How much of the newest frame the tick at `now` shows, 0..1, the rest being what was shown before it.

    seen: when the output first saw that frame. span: seconds between world frames. A frame's first tick already shows
    its share, so a change is seen at the very next tick; the last tick before the next frame shows it whole.
    """
    if span <= period:
        return 1.0
    return min(1.0, (now - seen + period) / span)
