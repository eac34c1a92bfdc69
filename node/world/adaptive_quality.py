"""How much quality a world can afford: prediction steps first, then whatever levels it offers itself. Pure: seconds in,
quality out.

One rung goes when frames took too long for a while, and comes back when there would be room for it for a longer while.
Each return that was in vain doubles that while, so that noise cannot make the picture flap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

STEPS = 4  # the most there are (Controls.steps)
MEMORY = 0.5  # seconds over which the cost of a frame is averaged
BEHIND = 1.0  # seconds too slow before a rung goes
AHEAD = 4.0  # seconds with room before one comes back; doubled by each return in vain,
LONGEST = 64.0  # at most to this
STEADY = 30.0  # seconds on a rung after which its return was not in vain
ROOM = 0.85  # of the time there is, what the better rung may take
SPIKE = 4.0  # times the time there is that one frame counts at most: a single hitch is no load
UNKNOWN = 2.0  # cost of a level of the world's own against the next, until it is known
ENOUGH = 0.6  # of its own rate, where a world that is told how long a step is still moves well
EVEN = 0.95  # and where its frames have one length, and slower is slow motion


@dataclass(frozen=True)
class Quality:
    """limit: prediction steps at most. level: of the world's own, 0 is the best. cost: seconds a frame, averaged.

    room: seconds for which a better rung would have fitted. late: seconds for which this one has not. patience: how
    much room is asked for. held: seconds on this rung. above: cost of the rung above when it was left. gain: how much
    more that costs than this one, once known.
    """

    limit: int = STEPS
    level: int = 0
    cost: float = 0.0
    late: float = 0.0
    room: float = 0.0
    patience: float = AHEAD
    held: float = 0.0
    above: float = 0.0
    gain: float = 0.0
    rose: bool = False  # to this rung, from the one below


def used(quality: Quality, asked: int) -> int:
    """Prediction steps to take: never more than the performer asks for."""
    return min(asked, quality.limit)


def reduced(quality: Quality, asked: int) -> bool:
    return used(quality, asked) < asked or quality.level > 0


def passed(quality: Quality, took: float, wanted: float, asked: int, levels: int = 1, least: float = 0.0) -> Quality:
    """A frame took `took` seconds, of `wanted` that there are. levels: how many the world offers. least: seconds that
    go by for each frame even where it is made in no time."""
    took = min(took, SPIKE * wanted)
    went = max(took, least)
    if not quality.held:  # what belongs to the change itself is no measure
        return replace(quality, held=went)
    cost = quality.cost + (took - quality.cost) * -math.expm1(-went / MEMORY) if quality.cost else took
    q = replace(quality, cost=cost, held=quality.held + went)
    if cost > wanted:
        q = replace(q, late=q.late + went, room=0.0)
        return _down(q, asked, levels) if q.late > BEHIND else q
    q = replace(q, late=0.0)
    if q.held > STEADY and q.rose:
        q = replace(q, patience=AHEAD, rose=False)
    if not reduced(q, asked):
        return replace(q, room=0.0)
    q = _learned(q, asked)
    if cost * (q.gain or _dearest(q, asked)) > ROOM * wanted:
        return replace(q, room=0.0)
    q = replace(q, room=q.room + went)
    return _up(q, asked) if q.room > q.patience else q


def _dearest(q: Quality, asked: int) -> float:
    """What the rung above can cost at most, against this one: drawing costs something besides the steps."""
    steps = used(q, asked)
    return UNKNOWN if q.level else (steps + 1) / steps


def _learned(q: Quality, asked: int) -> Quality:
    """The gain, when this rung was measured long enough after the one above."""
    if q.gain or not q.above or q.held < 2 * MEMORY:
        return q
    return replace(q, gain=min(max(q.above / q.cost, 1.0), _dearest(q, asked)))


def _down(q: Quality, asked: int, levels: int) -> Quality:
    steps = used(q, asked)
    if steps <= 1 and q.level >= levels - 1:
        return replace(q, late=0.0)  # there is no rung below
    patience = min(2 * q.patience, LONGEST) if q.rose else q.patience
    if steps > 1:
        return Quality(steps - 1, q.level, patience=patience, above=q.cost)
    return Quality(q.limit, q.level + 1, patience=patience, above=q.cost)


def _up(q: Quality, asked: int) -> Quality:
    if q.level:
        return Quality(q.limit, q.level - 1, patience=q.patience, rose=True)
    limit = used(q, asked) + 1
    return Quality(STEPS if limit >= asked else limit, patience=q.patience, rose=True)


def enough(fps: float, top: float, bursts: bool) -> float:
    """Frames a second from which a world keeps its time. fps: its own rate. top: the show's. bursts: several frames
    come at a time, all of one length."""
    return min(fps, top) * (EVEN if bursts else ENOUGH)


class Governor:
    """Keeps one world's quality. bursts: it makes several frames at a time. top: the show's rate."""

    def __init__(self, fps: float, top: float, bursts: bool, steps_per_chunk: int, qualities: tuple[str, ...]) -> None:
        self.wanted = 1 / enough(fps, top, bursts)  # seconds a frame
        self._least = 1 / (min(fps, top) if bursts else top)  # that go by for one, however fast it is made
        self.quality = Quality()
        self._round, self._names = steps_per_chunk, qualities
        self._asked, self._seconds, self._frames, self._steps = 1, 0.0, 0, 0

    def allow(self, auto: bool) -> int:
        """The level of the world's own that the next step shall have; without `auto` everything is at its best."""
        if not auto:
            self.quality = Quality()
        return self.quality.level

    def afford(self, asked: int) -> int:
        """Of the prediction steps asked for, how many the next step shall take."""
        self._asked = asked
        return used(self.quality, asked)

    def done(self, took: float, frames: int) -> None:
        """A step took so many seconds, and gave so many frames."""
        self._seconds, self._frames, self._steps = self._seconds + took, self._frames + frames, self._steps + 1
        if self._steps >= self._round:
            if self._frames:
                each = max(self._seconds / self._frames, 1e-6)
                for _ in range(self._frames if self.quality.held else 1):
                    self.quality = passed(
                        self.quality, each, self.wanted, self._asked, max(len(self._names), 1), self._least
                    )
                    if not self.quality.held:  # another rung: nothing is known of it yet
                        break
            self._seconds, self._frames, self._steps = 0.0, 0, 0

    def words(self) -> str:
        """What is reduced, and why; empty where nothing is."""
        q = self.quality
        if not reduced(q, self._asked):
            return ""
        steps = used(q, self._asked)
        what = [f"{steps} of {self._asked} steps"] if steps < self._asked else []
        what += [self._names[q.level]] if q.level else []
        return f"{', '.join(what)}: the world is too slow for {1 / self.wanted:.0f} frames a second"
