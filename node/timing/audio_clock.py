"""When audio was recorded, by an even clock: a sound card counts samples more evenly than they arrive."""

from __future__ import annotations

from dataclasses import dataclass

ARRIVALS_KEPT = 25  # chunks: a quarter of a second
DRIFT_GAIN = 0.02  # share of the error that is corrected at each chunk: sound cards drift far more slowly
JUMP_S = 0.02  # an error from which on samples must have been lost
RESTART_AFTER_S = 0.25  # a delay from which on the source was away, and starts again


@dataclass(frozen=True)
class AudioClock:
    """start: time.monotonic() of sample 0, as estimated. count: samples so far. recent: estimates of `start` from each
    of the last arrivals alone."""

    start: float = 0.0
    count: int = 0
    recent: tuple[float, ...] = ()


def advance(clock: AudioClock, arrived_at: float, samples: int, rate: int) -> tuple[AudioClock, float]:
    """The clock after a chunk of `samples` samples, and the time of its first sample.

    arrived_at: when that chunk arrived. Chunks may arrive late, several at once, but never early: so the least late of
    the recent ones is the best estimate.
    """
    start = arrived_at - clock.count / rate
    if not clock.recent or start - clock.start > RESTART_AFTER_S:
        return AudioClock(arrived_at, samples, (arrived_at,)), arrived_at
    recent = (*clock.recent[1 - ARRIVALS_KEPT :], start)
    off = min(recent) - clock.start
    start = clock.start + (off if abs(off) > JUMP_S else off * DRIFT_GAIN)
    return AudioClock(start, clock.count + samples, recent), start + clock.count / rate
