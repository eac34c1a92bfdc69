"""How the picture of a scene moved since an earlier moment, and how near each of its pixels is.

A pixel shows one thing: the figure, a near plane, the ground, or the panorama. `geometry` says where a line of sight
meets each of them, and where the earlier camera had that point on its screen. So nothing is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from .constants import constant
from .figure import FEET, TALL, carried_by_bones, skeleton
from .geometry import CAMERA_HEIGHT, DEPTH_PLANES, HORIZON, SPACING, SPIRAL, SPIRALS, SWAY, Rays, hypot, wrap
from .near_things import standing
from .scene import PANORAMA, ROAD, STREET, Scene
from .vocabulary import FIGURES, PLACES

NEAR = 0.5  # depth, in world units, whose nearness is 1
FIGURE_DEPTH = 0.6
FLUID = ("liquid", "plasma")  # places in which nothing keeps its shape
HIDDEN = 0.06  # nearness by which something must have been nearer to have hidden what is seen now
OPAQUE = 0.5  # share from which a pixel belongs to what stands in front


@dataclass
class Seen:
    """What each pixel shows, (rows, columns) each: where it stood before, in screen units, how near it is, and how near
    it was."""

    x: Tensor
    y: Tensor
    near: Tensor
    nearer: Tensor

    def cover(self, front: Seen, there: Tensor) -> Seen:
        """With `front` where `there` is true."""
        names = ("x", "y", "near", "nearer")
        return Seen(*(torch.where(there, getattr(front, name), getattr(self, name)) for name in names))


def apparent_motion(
    before: Scene, now: Scene, rows: int, columns: int, earlier: Tensor | None = None
) -> tuple[Tensor, Tensor] | None:
    """Of one scene: motion (rows, columns, 2), the way right and down that each pixel came, in shares of the picture's
    width and height; NaN for what was not in sight before. And how near each pixel is (rows, columns), 0..1.

    earlier: the same nearness of `before`; without it only what came from beyond the edges counts as new. None for a
    place in which nothing keeps its shape.
    """
    place = now.place[0]
    if float(sum(place[PLACES.index(name)] for name in FLUID)) > OPAQUE:
        return None
    r = Rays.of(now, rows, columns)
    spiral = next((name for name in SPIRALS if float(place[PLACES.index(name)]) > OPAQUE), None)
    seen = _spiral(before, now, r, spiral) if spiral else _landscape(before, now, r)
    shown = 1 - float(now.figure[0, FIGURES.index("none")])
    if shown > OPAQUE:
        seen = seen.cover(*_figure(before, now, r))
    unit = min(rows, columns) / 2
    x, y = r.screen_x[None, :].expand(rows, columns), r.screen_y[:, None].expand(rows, columns)
    motion = torch.stack([(x - seen.x) * unit / columns, (seen.y - y) * unit / rows], -1)
    at = torch.stack([seen.x * unit / columns * 2, -seen.y * unit / rows * 2], -1)  # -1..1, as `grid_sample` has it
    new = (at.abs() > 1).any(-1)
    if earlier is not None:
        was = F.grid_sample(earlier[None, None], at[None], mode="nearest", padding_mode="border", align_corners=False)
        new = new | (was[0, 0] > seen.nearer + HIDDEN)
    return motion.masked_fill(new[..., None], torch.nan), seen.near


def _on_screen(before: Scene, pan: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where the camera of `before` saw what stands at a bearing and a height over the horizon."""
    x = wrap(pan - before.yaw, PANORAMA) * before.zoom
    return x, (y - before.pitch - HORIZON - SWAY * before.seed[:, 1]) * before.zoom


def _landscape(before: Scene, now: Scene, r: Rays) -> Seen:
    pan, y = r.pan[0][None, :], r.y[0][:, None]
    shape = y.shape[0], pan.shape[1]
    step_x, step_z = wrap(now.x - before.x, STREET), wrap(now.z - before.z, ROAD)

    def at(depth: Tensor, was: Tensor, height: Tensor) -> Seen:
        x, above = _on_screen(before, (pan * depth + step_x) / was, height)
        return Seen(*(v.expand(shape) for v in (x, above, NEAR / depth, NEAR / was)))

    x, above = _on_screen(before, pan, y)
    far = torch.zeros(shape)
    seen = Seen(x.expand(shape), above.expand(shape), far, far)
    reach = CAMERA_HEIGHT / (-y).clamp(min=0.012)
    was = (reach + step_z).clamp(min=0.05)
    seen = seen.cover(at(reach, was, -CAMERA_HEIGHT / was), (y < -0.012).expand(shape))
    growth = SPACING ** (step_z * DEPTH_PLANES / ROAD)  # all planes came nearer by this factor
    shown = int(now.place[0].argmax())
    for plane in reversed(r.planes()):
        if float(plane.seen) > OPAQUE:
            was = plane.depth * growth
            seen = seen.cover(at(plane.depth, was, y * plane.depth / was), standing(shown, r, plane)[0])
    near = seen.near.clamp(0, 1)
    return Seen(seen.x, seen.y, near, seen.nearer.clamp(0, 1))


def _spiral(before: Scene, now: Scene, r: Rays, look: str) -> Seen:
    """Log-polar coordinates (`Rays.spiral`) of the first layer, solved for the earlier moment."""
    turns, inward = SPIRALS[look][0]
    x = r.x[0][None, :] + 0.35 * torch.sin(2 * pi * now.x / STREET)
    y = (r.y[0] - HORIZON)[:, None]
    time = wrap(now.time - before.time, 64.0)
    spin = 2 * pi * (wrap(now.yaw - before.yaw, PANORAMA) / PANORAMA + turns * time / 64)
    angle = torch.atan2(y, x) + spin
    radius = hypot(x, y) * torch.exp(-SPIRAL * (inward * time / 4 + wrap(now.z - before.z, ROAD) / ROAD * 4))
    x = (radius * angle.cos() - 0.35 * torch.sin(2 * pi * before.x / STREET)) * before.zoom
    y = (radius * angle.sin() - before.pitch - SWAY * before.seed[:, 1]) * before.zoom
    return Seen(x, y, radius.clamp(0, 1), radius.clamp(0, 1))


def _figure(before: Scene, now: Scene, r: Rays) -> tuple[Seen, Tensor]:
    """The figure, which stands where it is whatever the camera does, and the pixels that show it."""
    ends, were = (skeleton(s.figure, s.phase)[0] for s in (now, before))
    x, y, inside = carried_by_bones(r.screen_x / TALL, (r.screen_y - FEET) / TALL, ends, were)
    near = constant((NEAR / FIGURE_DEPTH,), x).expand(x.shape[1:])
    return Seen(x[0] * TALL, y[0] * TALL + FEET, near, near), inside[0]
