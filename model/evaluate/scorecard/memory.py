"""Turn the camera away for 4 s and back: does the world show the same view again?

The view after the way back is compared with the first one, and so are random views of the same world: those passed on
the way, from 1.5 s on. Distances are taken in the judge's features, which keep where things are, and in images of
64x36 pixels. The figure is the distance after the way back as a share of the mean distance of a random view: 0 is the
same view, 1 is any view. The clouds have moved on meanwhile, so that true frames do not reach 0 either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from ...spec import Controls, World
from ..probe import Probe
from .play import FIRST_SEED, FPS, Ask, run, settle, tokens
from .row import Row

AWAY_S = 4.0  # seconds
VIEWS = 5  # random ones
PASSED_S = 1.5  # seconds after which nothing of the first view is on screen any more


def _pixels(frames: Tensor) -> Tensor:
    return F.interpolate(frames, (36, 64), mode="area").flatten(1)


@torch.inference_mode()
def play(world: World, probe: Probe, scenes: Sequence[Ask], name: str = "memory") -> dict[str, float]:
    """Mean distances to the first view: of the view after the way back, and of random views of the same world."""
    found: dict[str, list[float]] = {}
    for i, scene in enumerate(track(scenes, name, transient=True)):
        world.reset(FIRST_SEED + i)
        values = tokens(world, scene)
        settle(world, Controls(values, dt=1 / FPS), 0.8)
        views = list(run(world, Controls(values, dt=1 / FPS), 1))
        away, back = (Controls(values, dt=1 / FPS, camera={"yaw": v}) for v in (1.0, -1.0))
        settle(world, away, PASSED_S)
        for _ in range(VIEWS):
            settle(world, away, (AWAY_S - PASSED_S) / VIEWS - 1 / FPS)
            views += run(world, away, 1)
        settle(world, back, AWAY_S - 1 / FPS)
        views += run(world, back, 1)
        images = torch.stack(views).permute(0, 3, 1, 2).float() / 255
        for kind, seen in (("judge", probe.features(images)), ("pixels", _pixels(images))):
            far = (seen[1:] - seen[:1]).norm(dim=1)
            found.setdefault(f"{kind}, back", []).append(float(far[-1]))
            found.setdefault(f"{kind}, random view", []).append(float(far[:-1].mean()))
    return {k: float(np.mean(v)) for k, v in found.items()}


def share(found: dict[str, float], kind: str) -> float:
    return found[f"{kind}, back"] / max(found[f"{kind}, random view"], 1e-6)


def rows(world: World, truth: World | None, probe: Probe, scenes: Sequence[Ask]) -> list[Row]:
    found = play(world, probe, scenes)
    true = play(truth, probe, scenes, "memory, true frames") if truth else None
    return [
        Row(f"memory: away and back, {kind}", share(found, kind), 0.6, at_most=True,
            truth=share(true, kind) if true else None,
            detail={"scenes": len(scenes), "back": found[f"{kind}, back"],
                    "random view": found[f"{kind}, random view"]})
        for kind in ("judge", "pixels")
    ]  # fmt: skip
