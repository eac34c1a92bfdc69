"""Does the picture boil? What changes from frame to frame though nothing moved there.

Each frame is compared with the one before, carried along the motion that the world tells (`World.geometry`): the mean
absolute difference where something was in sight before, in grey levels 0..255. The scenes are empty and quiet; the
camera stands still, turns, or moves. For worlds that paint over another, the driver's motion is the motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from ...painting.carried import carried
from ...spec import Controls, World
from .play import FIRST_SEED, FPS, Ask, run, settle, tokens
from .row import Row

MOVES: dict[str, dict[str, float]] = {"still": {}, **{axis: {axis: 0.5} for axis in ("yaw", "strafe", "forward")}}
SETTLE_S, FRAMES = 1.0, 8
TARGET = 3.0  # grey levels


def unexplained(before: Tensor, now: Tensor, motion: Tensor) -> float:
    """Mean absolute difference of a frame (h, w, 3) uint8 from the one before carried along the motion to it, where
    something was there before."""
    came, there = carried(before.permute(2, 0, 1)[None].float(), motion)
    difference = (came[0] - now.permute(2, 0, 1).float()).abs().mean(0)
    return float(difference[there].mean())


def play(world: World, scenes: Sequence[Ask], name: str = "stability") -> dict[str, float]:
    """Grey levels, by how the camera moves. Raises ValueError for a world that does not tell how its pictures move."""
    tell = getattr(world, "geometry", None)
    if tell is None:
        raise ValueError(f"{world.spec.name} does not tell how its pictures move")
    found: dict[str, list[float]] = {move: [] for move in MOVES}
    for i, scene in enumerate(track(scenes, name, transient=True)):
        for move, camera in MOVES.items():
            world.reset(FIRST_SEED + i)
            controls = Controls(tokens(world, scene), camera=camera, dt=1 / FPS)
            settle(world, controls, SETTLE_S)
            (before,) = run(world, controls, 1)
            for _ in range(FRAMES):
                tell()
                (now,) = run(world, controls, 1)
                geometry = tell()
                if geometry is not None:
                    found[move].append(unexplained(before, now, torch.from_numpy(geometry.motion)))
                before = now
    return {move: float(np.mean(values)) for move, values in found.items()}


def rows(world: World, truth: World | None, scenes: Sequence[Ask]) -> list[Row]:
    found = play(world, scenes)
    true = play(truth, scenes, "stability, true frames") if truth else None
    detail = {"by move": found, **({"true by move": true} if true else {})}
    return [Row("stability: change that no motion explains", max(found.values()), TARGET, at_most=True,
                unit="grey levels", truth=max(true.values()) if true else None, detail=detail)]  # fmt: skip
