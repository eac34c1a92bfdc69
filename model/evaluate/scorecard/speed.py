"""Does the world move at the same speed with steps of any length?

The same moment of the same scene runs on with steps of 1/24 s and of 1/10 s. Measured are the camera (half a turn's and
half a strafe's command, by optical flow: sideways speed of the frame, in screen units a second of world time)
and the figure (frames a cycle, where its region of the frame most resembles itself again). The figure is the largest
deviation of the ratio of the two from 1, medians over scenes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from ...spec import Array, Controls, World
from .flow import along
from .play import FIRST_SEED, Ask, run, settle, tokens
from .row import Row

DTS_S = (1 / 24, 1 / 10)  # seconds
CAMERA_S, FIGURE_S = 1.0, 4.0  # how long the camera and the figure are watched
CYCLE_S = (0.4, 2.6)  # seconds between which the figure's cycle is looked for
ACTS = ("jump", "dance")


def sideways(world: World, values: Array, axis: str, dt: float) -> float:
    """Screen units a second to the left, under half the command, of what is no slower than 3 in 4 of all that moves."""
    frames = list(run(world, Controls(values, dt=dt, camera={axis: 0.5}), round(CAMERA_S / dt) + 1))
    moved = along(frames).vectors
    return float(np.percentile(-moved[:, 0], 75)) / dt if len(moved) else 0.0


def cycle(frames: Sequence[Tensor], dt: float) -> float:
    """Seconds after which the middle of the frame is most like itself again."""
    x = torch.stack([f.permute(2, 0, 1) for f in frames]).float().mean(1, keepdim=True)
    n, _, h, w = x.shape
    x = F.interpolate(x[:, :, h // 10 :, w // 2 - h // 3 : w // 2 + h // 3], (48, 36), mode="area").flatten(1)
    lags = range(max(1, int(CYCLE_S[0] / dt)), min(n - 2, int(CYCLE_S[1] / dt) + 2))
    unlike = np.array([float((x[k:] - x[:-k]).abs().mean()) for k in lags])
    return (lags[0] + _dip(unlike)) * dt


def _dip(unlike: NDArray[np.float64]) -> float:
    """Where the first dip is that is nearly as deep as the deepest, between two samples if need be."""
    deep = unlike.min() + 0.25 * (unlike.max() - unlike.min())
    inner = range(1, len(unlike) - 1)
    dips = [i for i in inner if unlike[i] <= deep and unlike[i] <= unlike[i - 1] and unlike[i] <= unlike[i + 1]]
    i = dips[0] if dips else int(unlike.argmin())
    if not 0 < i < len(unlike) - 1:
        return float(i)
    a, b, c = unlike[i - 1 : i + 2]
    return i + 0.5 * (a - c) / max(a - 2 * b + c, 1e-9)


def play(world: World, scenes: Sequence[Ask], name: str = "true speed") -> dict[str, float]:
    """ "yaw", "strafe" and acts -> speed at 1/10 s as a ratio to that at 1/24 s, the median over scenes."""
    found: dict[str, list[float]] = {}
    for i, scene in enumerate(track(scenes, name, transient=True)):
        world.reset(FIRST_SEED + i)
        values = tokens(world, scene)
        settle(world, Controls(values, dt=1 / 20), 0.8)
        start = world.snapshot()
        for axis in ("yaw", "strafe"):
            speeds = []
            for dt in DTS_S:
                world.restore(start)
                speeds.append(sideways(world, values, axis, dt))
            found.setdefault(axis, []).append(speeds[1] / speeds[0] if abs(speeds[0]) > 1e-3 else 0.0)
        act, times = ACTS[i % len(ACTS)], []
        for dt in DTS_S:
            world.restore(start)
            settle(world, Controls(values, dt=dt, acts={act: 1.0}), 0.6)
            times.append(cycle(list(run(world, Controls(values, dt=dt, acts={act: 1.0}), round(FIGURE_S / dt))), dt))
        found.setdefault(act, []).append(times[0] / max(times[1], 1e-6))
    return {k: float(np.median(v)) for k, v in found.items()}


def rows(world: World, truth: World | None, scenes: Sequence[Ask]) -> list[Row]:
    def worst(ratios: dict[str, float]) -> float:
        return max(abs(v - 1) for v in ratios.values())

    found = play(world, scenes)
    true = play(truth, scenes[:2], "true speed, true frames") if truth else None
    return [Row("true speed: 1/10 s against 1/24 s", worst(found), 0.15, at_most=True, unit="%",
                truth=worst(true) if true else None, detail={"scenes": len(scenes), "ratio": found})]  # fmt: skip
