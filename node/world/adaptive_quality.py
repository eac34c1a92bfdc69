"""Adaptive quality: how many prediction steps, and which of its own levels, a world has time for. Pure functions.

Quality goes down one rung of a ladder when frames took too long for a while, and up again when there was enough spare
time for a longer while. A rung is a number of prediction steps and one of the world's own levels. Each time that going
up fails, that while is doubled, so that noise cannot make the quality oscillate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

STEPS_MAX = 4  # Controls.steps
Ladder: TypeAlias = Sequence[tuple[int, int]]  # (most prediction steps, level), the best first
AVERAGING_S = 0.5  # time constant of a frame's average cost
SLOW_S = 1.0  # too slow for so long: one rung down
SPARE_S = 4.0  # enough spare time for so long: one rung up; doubled each time that this fails
SPARE_MAX_S = 64.0
PROVEN_S = 30.0  # a rung that was kept for so long has not failed
LOAD_MAX = 0.85  # share of the available time that the better rung may take
SPIKE_MAX = 4.0  # a frame counts as at most so many times the available time: a single hitch is not load
LEVEL_COST_GUESS = 2.0  # cost of one of the world's levels relative to the next, until it is measured
RATE_SHARE = 0.6  # of its own rate suffices for a world whose steps have variable length
FIXED_STEP_RATE_SHARE = 0.95  # suffices for a world whose frames have a fixed length: slower is slow motion


@dataclass(frozen=True)
class Quality:
    """limit: most prediction steps. level: the world's own quality level, 0 is the best. cost: average seconds a frame.

    room: seconds for which the better rung would have been fast enough. late: seconds for which this one was not.
    patience: the `room` that is needed to go up. held: seconds on this rung. above: cost of the rung above when it was
    left. gain: cost of the rung above relative to this one, once measured.
    """

    limit: int = STEPS_MAX
    level: int = 0
    cost: float = 0.0
    late: float = 0.0
    room: float = 0.0
    patience: float = SPARE_S
    held: float = 0.0
    above: float = 0.0
    gain: float = 0.0
    rose: bool = False  # from the rung below to this one


def used(quality: Quality, asked: int) -> int:
    """Number of prediction steps to take, at most `asked` by the performer."""
    return min(asked, quality.limit)


def reduced(quality: Quality, asked: int) -> bool:
    return used(quality, asked) < asked or quality.level > 0


def steps_first(levels: int) -> Ladder:
    """The ladder of a world with so many levels of its own: steps are given up before levels."""
    return [*((steps, 0) for steps in range(STEPS_MAX, 0, -1)), *((1, level) for level in range(1, levels))]


def rungs(ladder: Ladder, asked: int) -> list[tuple[int, int]]:
    """The rungs that differ where so many steps are asked for: (steps taken, level)."""
    return list(dict.fromkeys((min(asked, steps), level) for steps, level in ladder))


def passed(
    quality: Quality, took: float, frame_s: float, asked: int, ladder: Ladder = (), frame_min_s: float = 0.0
) -> Quality:
    """The quality after a frame that took `took` seconds, where `frame_s` are available. ladder: of the world; an
    empty one is that of a world without levels. frame_min_s: shortest time between frames."""
    ladder = ladder or steps_first(1)
    took = min(took, SPIKE_MAX * frame_s)
    went = max(took, frame_min_s)
    if not quality.held:  # the first frame after a change is not representative
        return replace(quality, held=went)
    cost = quality.cost + (took - quality.cost) * -math.expm1(-went / AVERAGING_S) if quality.cost else took
    q = replace(quality, cost=cost, held=quality.held + went)
    if cost > frame_s:
        q = replace(q, late=q.late + went, room=0.0)
        return _down(q, asked, ladder) if q.late > SLOW_S else q
    q = replace(q, late=0.0)
    if q.held > PROVEN_S and q.rose:
        q = replace(q, patience=SPARE_S, rose=False)
    if not reduced(q, asked):
        return replace(q, room=0.0)
    q = _learned(q, asked, ladder)
    if cost * (q.gain or _dearest(q, asked, ladder)) > LOAD_MAX * frame_s:
        return replace(q, room=0.0)
    q = replace(q, room=q.room + went)
    return _up(q, asked, ladder) if q.room > q.patience else q


def _place(q: Quality, asked: int, ladder: Ladder) -> tuple[list[tuple[int, int]], int]:
    """The rungs, and the index of the present one. Where it is none of them (the performer asks for another number of
    steps now), it is the best that costs no more."""
    there, now = rungs(ladder, asked), used(q, asked)
    if (now, q.level) in there:
        return there, there.index((now, q.level))
    cheaper = (i for i, (steps, level) in enumerate(there) if level >= q.level and steps <= now)
    return there, next(cheaper, len(there) - 1)


def _dearest(q: Quality, asked: int, ladder: Ladder) -> float:
    """Upper bound of the cost of the rung above relative to this one (decoding does not depend on the steps)."""
    there, i = _place(q, asked, ladder)
    steps, level = there[max(i - 1, 0)]
    more = max(steps / used(q, asked), 1.0)
    return more if level == q.level else LEVEL_COST_GUESS * more


def _learned(q: Quality, asked: int, ladder: Ladder) -> Quality:
    """Set the gain, once this rung was measured for long enough after the one above."""
    if q.gain or not q.above or q.held < 2 * AVERAGING_S:
        return q
    return replace(q, gain=min(max(q.above / q.cost, 1.0), _dearest(q, asked, ladder)))


def _down(q: Quality, asked: int, ladder: Ladder) -> Quality:
    there, i = _place(q, asked, ladder)
    if (used(q, asked), q.level) == there[i]:
        i += 1
    if i == len(there):
        return replace(q, late=0.0)  # this is the lowest rung
    patience = min(2 * q.patience, SPARE_MAX_S) if q.rose else q.patience
    return Quality(*_at(there[i], asked), patience=patience, above=q.cost)


def _up(q: Quality, asked: int, ladder: Ladder) -> Quality:
    there, i = _place(q, asked, ladder)
    return Quality(*_at(there[max(i - 1, 0)], asked), patience=q.patience, rose=True)


def _at(rung: tuple[int, int], asked: int) -> tuple[int, int]:
    """Limit and level of a rung. Where it takes all steps that are asked for, it limits none: more may be asked for."""
    steps, level = rung
    return (STEPS_MAX if steps >= asked else steps), level


def enough(fps: float, show_fps: float, bursts: bool) -> float:
    """Frames a second from which a world is fast enough. fps: its own rate. show_fps: the show's rate. bursts: whether
    it makes several frames at a time, of fixed length."""
    return min(fps, show_fps) * (FIXED_STEP_RATE_SHARE if bursts else RATE_SHARE)


class Governor:
    """Controls the quality of one world. bursts: it makes several frames at a time. show_fps: the show's rate.

    levels: the world's own qualities, the best first; they may become more while it runs. ladder: the order in which
    they and the steps are given up; an empty one is `steps_first`."""

    def __init__(
        self,
        fps: float,
        show_fps: float,
        bursts: bool,
        steps_per_chunk: int,
        qualities: tuple[str, ...],
        ladder: Ladder = (),
    ) -> None:
        self.frame_s = 1 / enough(fps, show_fps, bursts)  # seconds a frame
        self._least = 1 / (min(fps, show_fps) if bursts else show_fps)  # shortest time between frames
        self.quality = Quality()
        self._round, self.levels, self._ladder = steps_per_chunk, qualities, ladder
        self._asked, self._seconds, self._frames, self._steps = 1, 0.0, 0, 0

    def allow(self, auto: bool) -> int:
        """The world's own quality level for the next step; without `auto` always the best."""
        if not auto:
            self.quality = Quality()
        return self.quality.level

    def afford(self, asked: int) -> int:
        """How many of the requested prediction steps the next step may take."""
        self._asked = asked
        return used(self.quality, asked)

    def done(self, took: float, frames: int) -> None:
        """Record a step that took `took` seconds and made `frames` frames."""
        self._seconds, self._frames, self._steps = self._seconds + took, self._frames + frames, self._steps + 1
        if self._steps >= self._round:
            if self._frames:
                each = max(self._seconds / self._frames, 1e-6)
                ladder = self._ladder or steps_first(len(self.levels))
                for _ in range(self._frames if self.quality.held else 1):
                    self.quality = passed(self.quality, each, self.frame_s, self._asked, ladder, self._least)
                    if not self.quality.held:  # the rung changed: the other frames do not count for it
                        break
            self._seconds, self._frames, self._steps = 0.0, 0, 0

    def message(self) -> str:
        """What is reduced, and why; empty at full quality."""
        q = self.quality
        if not reduced(q, self._asked):
            return ""
        steps = used(q, self._asked)
        what = [f"{steps} of {self._asked} steps"] if steps < self._asked else []
        what += [self.levels[q.level]] if q.level else []
        return f"{', '.join(what)}: the world is too slow for {1 / self.frame_s:.0f} frames a second"
