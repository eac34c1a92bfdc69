"""When sound was heard, on an even clock: a sound card counts more evenly than its samples arrive."""

from __future__ import annotations

from dataclasses import dataclass

RECENT = 25  # pieces whose arrival is looked at: a quarter of a second
FOLLOWS = 0.02  # of what the clock is off, at each piece: the drift of a sound card is far slower
JUMP = 0.02  # seconds off from which on something was lost in between
GONE = 0.25  # seconds late from which on the source was away, and begins anew


@dataclass(frozen=True)
class AudioClock:
    """start: time.monotonic() at which sample 0 was heard, as far as is known. count: samples so far. recent: what
    `start` would be by the last arrivals alone."""

    start: float = 0.0
    count: int = 0
    recent: tuple[float, ...] = ()


def heard(clock: AudioClock, arrived_at: float, samples: int, rate: int) -> tuple[AudioClock, float]:
    """The clock after a piece of `samples`, and when its first sample was heard.

    arrived_at: the same as far as the arrival tells. A piece may arrive late, and several at once then, but never
    early: the least late of the last ones tells the truth.
    """
    start = arrived_at - clock.count / rate
    if not clock.recent or start - clock.start > GONE:
        return AudioClock(arrived_at, samples, (arrived_at,)), arrived_at
    recent = (*clock.recent[1 - RECENT :], start)
    off = min(recent) - clock.start
    start = clock.start + (off if abs(off) > JUMP else off * FOLLOWS)
    return AudioClock(start, clock.count + samples, recent), start + clock.count / rate
