"""Does a 1 s transition flow, or does it pop?

A jump is the mean absolute difference of two neighbouring frames. The largest jump from the first frame of the
transition to 0.3 s after its last is held against what has to be there, the larger of

- the largest jump in normal motion, over 1 s before and 1 s after it;
- the whole way from the last frame before to the first frame after, divided by the frames of the transition: the
  jump of a perfectly even one.

1 is perfectly even, a cut is as large as the transition has frames. The figure is the median over several pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from rich.progress import track
from torch import Tensor

from ...spec import Controls, World, slerp
from .play import FIRST_SEED, FPS, Ask, ask, change, run, settle, tokens
from .row import Row

TRANSITION_S, AFTER_S = 1.0, 0.3


def jumps(frames: Sequence[Tensor]) -> list[float]:
    return [change(a, b) for a, b in pairwise(frames)]


def once(world: World, first: Ask, second: Ask) -> float:
    """How much larger the largest jump of one transition is than it has to be."""
    a, b = tokens(world, first), tokens(world, second)
    count = round(TRANSITION_S * FPS)
    settle(world, Controls(a, dt=1 / FPS), 1.0)
    before = list(run(world, Controls(a, dt=1 / FPS), count))
    transition = [before[-1]]
    for i in range(1, count + 1):
        t = i / count
        transition += run(world, Controls(slerp([a, b], [1 - t, t]), dt=1 / FPS), 1)
    transition += run(world, Controls(b, dt=1 / FPS), round(AFTER_S * FPS))
    after = list(run(world, Controls(b, dt=1 / FPS), count))
    normal = max(jumps(before) + jumps(after))
    return max(jumps(transition)) / max(normal, change(transition[0], transition[-1]) / count, 1e-3)


def play(world: World, count: int, name: str = "continuity") -> list[float]:
    rng, found = np.random.default_rng(17), []
    for i in track(range(count), name, transient=True):
        world.reset(FIRST_SEED + i)
        found.append(once(world, ask(rng), ask(rng)))
    return found


def rows(world: World, truth: World | None, count: int = 6) -> list[Row]:
    found = play(world, count)
    true = float(np.median(play(truth, max(2, count // 2), "continuity, true frames"))) if truth else None
    detail = {"transitions": count, "worst": max(found)}
    return [Row("continuity: largest jump", float(np.median(found)), 2, at_most=True,
                unit="x", truth=true, detail=detail)]  # fmt: skip
