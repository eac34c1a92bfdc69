"""Do the frames move as the camera command asks?

From one settled moment of each scene, every command runs for half a second; what an uncommanded run of the same moment
does by itself (clouds, waves) is taken off. A command is right when the motion it adds has the right sign, is larger
than NOISE, and lies along its own axis:

    strafe, yaw   the mean of x, more than of y; to the right moves the frame to the left
    pitch         the mean of y, more than of x; up moves the frame down
    forward       away from the vanishing point, which lies on the horizon
    zoom          away from the centre (reported, not one of the eight)

Strafe and yaw are told apart by how unlike the motion is from the sky down to the near ground: the spread of the
medians of ROWS rows of the frame (10th to 90th percentile), as a share of the fastest. A turn moves all alike, a
strafe moves near things more. On true frames, turns come to at most 0.15 and strafes to at least 0.45.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.progress import track

from ...spec import Controls, World
from .flow import Motion, along
from .play import FIRST_SEED, FPS, Ask, run, settle, tokens
from .row import Row

COMMANDS = tuple((axis, sign) for axis in ("strafe", "forward", "yaw", "pitch", "zoom") for sign in (1, -1))
LENGTH_S = 0.5
NOISE_PER_S = 0.02  # screen units a second
HORIZON = 0.12  # where the stage's horizon lies, screen units under the centre
ROWS, FEW = 8, 6  # rows of the frame, and how many followed corners speak for one
STRAFE_SPREAD_MIN = 0.3  # spread from which a sideways motion is a strafe


def _radial(m: Motion, y: float) -> float:
    arm = m.points - [0.0, y]
    return float((m.vectors * arm).sum(1).mean() / np.hypot(*arm.T).mean())


def measure(m: Motion) -> dict[str, float]:
    """Screen units a second to the right, down, away from the vanishing point and away from the centre."""
    if len(m.points) < FEW:
        return {"x": 0.0, "y": 0.0, "forward": 0.0, "zoom": 0.0}
    x, y = m.vectors.mean(0)
    found = {"x": x, "y": y, "forward": _radial(m, HORIZON), "zoom": _radial(m, 0.0)}
    return {k: float(v) * FPS for k, v in found.items()}


def right(axis: str, sign: int, moved: dict[str, float]) -> bool:
    """Whether that command explains that motion."""
    x, y = moved["x"], moved["y"]
    match axis:
        case "strafe" | "yaw":
            along_it, across = -x * sign, abs(y)
        case "pitch":
            along_it, across = y * sign, abs(x)
        case _:
            along_it, across = moved[axis] * sign, 0.0
    return along_it > max(NOISE_PER_S, across)


def unlikeness(m: Motion) -> float:
    """0 where every row of the frame moves sideways alike, towards 1 where some of them stay."""
    row = np.clip((m.points[:, 1] + 1) / 2 * ROWS, 0, ROWS - 1).astype(int)
    medians = [np.median(m.vectors[row == k, 0]) for k in range(ROWS) if (row == k).sum() >= FEW]
    if len(medians) < 2:
        return 0.0
    slow, fast = np.percentile(np.abs(medians), (10, 90))
    return float((fast - slow) / max(fast, 1e-6))


def play(world: World, scenes: Sequence[Ask], name: str = "camera") -> dict[str, float]:
    """ "strafe +" ... "zoom -" -> share right, and "told apart" -> share of sideways motions named rightly."""
    hits: dict[str, list[bool]] = {}
    frames = round(LENGTH_S * FPS)
    for i, scene in enumerate(track(scenes, name, transient=True)):
        world.reset(FIRST_SEED + i)
        values = tokens(world, scene)
        settle(world, Controls(values, dt=1 / FPS), 0.8)
        (first,) = run(world, Controls(values, dt=1 / FPS), 1)
        start = world.snapshot()
        still = measure(along([first, *run(world, Controls(values, dt=1 / FPS), frames)]))
        for axis, sign in COMMANDS:
            world.restore(start)
            commanded = Controls(values, dt=1 / FPS, camera={axis: float(sign)})
            motion = along([first, *run(world, commanded, frames)])
            moved = {k: v - still[k] for k, v in measure(motion).items()}
            hits.setdefault(f"{axis} {'+' if sign > 0 else '-'}", []).append(right(axis, sign, moved))
            if axis in ("strafe", "yaw"):
                hits.setdefault("told apart", []).append((unlikeness(motion) > STRAFE_SPREAD_MIN) == (axis == "strafe"))
    return {k: float(np.mean(v)) for k, v in hits.items()}


def rows(world: World, truth: World | None, scenes: Sequence[Ask]) -> list[Row]:
    found = play(world, scenes)
    true = play(truth, scenes, "camera, true frames") if truth else {}
    eight = [k for k in found if k not in ("told apart",) and not k.startswith("zoom")]
    detail = {"scenes": len(scenes), "right": found} | ({"right on true frames": true} if true else {})
    return [
        Row("camera: worst of 8 commands", min(found[k] for k in eight), 0.9, unit="%",
            truth=min(true[k] for k in eight) if true else None, detail=detail),
        Row("camera: strafe told from yaw", found["told apart"], 0.9, unit="%", truth=true.get("told apart")),
    ]  # fmt: skip
