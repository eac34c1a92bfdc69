"""How many frames does it take until a new prompt is visible?

From one moment the world runs on three times: unswitched, unswitched with other noise, and switched to another prompt.
The reaction is the first frame at which the switched run differs from the unswitched one by more than twice what noise
alone changes there (and by more than half a grey level, for a world without noise).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.progress import track
from torch import Tensor

from ...spec import Array, Controls, World, WorldState
from .play import FIRST_SEED, FPS, ask, change, run, settle, tokens
from .row import Row

FRAMES_MAX = 20  # after which the measure stops waiting
DIFFERENCE_MIN = 0.5  # grey levels


def _frames(world: World, state: WorldState, values: Array, noise: int | None = None) -> Iterator[Tensor]:
    """One frame at a time from that moment on, so that several runs can take turns in one world."""
    for i in range(FRAMES_MAX):
        world.restore(state)
        if i == 0 and noise is not None and hasattr(world, "noise"):
            world.noise.manual_seed(noise)
        (frame,) = run(world, Controls(values, dt=1 / FPS), 1)
        state = world.snapshot()
        yield frame


def once(world: World, a: Array, b: Array) -> int:
    """Frames from the switch until it is visible, in a world that has settled on `a`."""
    start = world.snapshot()
    runs = zip(
        _frames(world, start, a), _frames(world, start, a, noise=1), _frames(world, start, b), strict=True
    )  # fmt: skip
    for i, (stays, wavers, goes) in enumerate(runs):
        if change(goes, stays) > max(2 * change(wavers, stays), DIFFERENCE_MIN):
            return i + 1
    return FRAMES_MAX + 1


def rows(world: World, count: int = 12) -> list[Row]:
    rng, waits = np.random.default_rng(7), []
    for i in track(range(count), "reaction", transient=True):
        world.reset(FIRST_SEED + i)
        a, b = (tokens(world, ask(rng)) for _ in range(2))
        settle(world, Controls(a, dt=1 / FPS), 0.6)
        waits.append(once(world, a, b))
    detail = {"switches": count, "worst": max(waits)}
    return [Row("reaction", float(np.median(waits)), 1, at_most=True, unit="frames", detail=detail)]
