"""How the preview's world gives way to the program's. Pure functions.

The measure is what a frame costs the program's world, in seconds, while the preview rests (`alone`) and while it works
(`beside`). Where the second is more than a tenth above the first, the preview pauses for a moment, because the machine
may have become busy or the program's frames dearer; if the cost falls then, the preview was the reason, and it slows
down; if it is as slow as it may be, it rests for a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

COST_MAX = 1.08  # of `beside` relative to `alone`
MEASURE_S = 0.75  # of a pause
AVERAGING_S = 1.0  # time constant of `beside`
DEAR_S = 1.5  # too dear for so long: a pause
GOOD_S = 10.0  # cheap enough for so long: faster again
SLOWEST_S = 0.5  # between two steps
REST_S, REST_MAX_S = 5.0, 60.0  # a rest, which is doubled each time that it did not help
PROVEN_S = 30.0  # after which a rest begins with REST_S again

Phase = Literal["measuring", "working", "resting"]


@dataclass(frozen=True)
class Yielding:
    """phase: in "working" the preview makes a step every `interval` seconds, else none. fastest: the least interval.

    alone, beside: seconds a frame of the program. spent: seconds in this phase. dear, good: seconds for which it was.
    total, frames: of the pause so far. rest: how long the next rest lasts.
    """

    fastest: float
    phase: Phase = "measuring"
    interval: float = 0.0
    alone: float = 0.0
    beside: float = 0.0
    spent: float = 0.0
    dear: float = 0.0
    good: float = 0.0
    total: float = 0.0
    frames: int = 0
    rest: float = REST_S

    @classmethod
    def at_most(cls, rate: float) -> Yielding:
        """rate: the preview's frames a second where nothing hinders it."""
        return cls(1 / rate, interval=1 / rate)

    @property
    def works(self) -> bool:
        return self.phase == "working"


def observed(y: Yielding, seconds: float, frames: int, busy: float) -> Yielding:
    """The state after `seconds` in which the program's world made `frames` frames that took `busy` seconds in all."""
    y = replace(y, spent=y.spent + seconds)
    match y.phase:
        case "resting":
            return _measuring(y) if y.spent >= y.rest else y
        case "measuring":
            y = replace(y, total=y.total + busy, frames=y.frames + frames)
            return _measured(y) if y.spent >= MEASURE_S else y
        case _:
            return _worked(y, seconds, busy / frames) if frames else y


def _measuring(y: Yielding) -> Yielding:
    return replace(y, phase="measuring", spent=0.0, total=0.0, frames=0)


def _measured(y: Yielding) -> Yielding:
    """The end of a pause. A program that is frozen makes no frames, and minds nothing."""
    alone = y.total / y.frames if y.frames else y.alone
    guilty = y.beside > COST_MAX * alone > 0
    y = replace(y, alone=alone, beside=0.0, spent=0.0, dear=0.0, good=0.0)
    if not guilty:
        return replace(y, phase="working")
    if y.interval >= SLOWEST_S:
        return replace(y, phase="resting")
    return replace(y, phase="working", interval=min(2 * y.interval, SLOWEST_S))


def _worked(y: Yielding, seconds: float, cost: float) -> Yielding:
    beside = y.beside + (cost - y.beside) * -math.expm1(-seconds / AVERAGING_S) if y.beside else cost
    alone = min(y.alone, beside) if y.alone else beside
    dear = beside > COST_MAX * alone
    y = replace(y, alone=alone, beside=beside, dear=y.dear + seconds if dear else 0.0,
                good=0.0 if dear else y.good + seconds)  # fmt: skip
    if y.dear > DEAR_S:
        longer = min(2 * y.rest, REST_MAX_S) if y.interval >= SLOWEST_S else y.rest
        return _measuring(replace(y, rest=longer))
    if y.good > GOOD_S and y.interval > y.fastest:
        y = replace(y, good=0.0, interval=max(y.interval / 1.5, y.fastest))
    return replace(y, rest=REST_S) if y.spent > PROVEN_S else y
