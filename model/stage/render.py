"""Draws a `Scene`: bold shapes, strong light, real parallax. Pure torch, any device, deterministic."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import Canvas, mix
from .figure import FEET, TALL, contact, distance, skeleton
from .geometry import smoothstep
from .looks import LOOK_PAINTERS
from .places import SCENE_PAINTERS
from .scene import Scene
from .vocabulary import FIGURES, LOOKS, PLACES
from .weather import grade, weather

PAINTERS = SCENE_PAINTERS | LOOK_PAINTERS
assert tuple(PAINTERS) == PLACES


def render(s: Scene, height: int = 288, width: int = 512) -> Tensor:
    """(n, 3, height, width) float 0..1 RGB of n moments. The shorter side is always 2 screen units."""
    c = Canvas(s, height, width)
    image: Tensor | None = None
    total = torch.zeros(len(s), device=c.dev)
    for i, place in enumerate(PLACES):
        w = s.place[:, i]
        if float(w.max()) < 0.004:
            continue
        PAINTERS[place](c)
        if float(w.min()) > 0.99:
            image = c.image.clone()
        else:
            layer = c.image.clamp(0, 1.5) * w[:, None, None, None]
            image = layer if image is None else image + layer
        total += w
    if image is None:
        raise ValueError("a scene has at least one place")
    c.image = image / total.clamp(min=1e-3)[:, None, None, None] if float(total.min()) < 0.99 else image
    weather(c)
    _figure(c)
    grade(c)
    return c.image.clamp(0, 1)


def _figure(c: Canvas) -> None:
    """A silhouette with a rim of the sun's light, so that it reads on any ground."""
    s = c.s
    there = 1 - s.figure[:, FIGURES.index("none")]
    if float(there.max()) < 0.01:
        return
    ends, radii = skeleton(s.figure, s.phase)
    xs, ys = c.rays.screen_x, c.rays.screen_y
    rows = torch.nonzero((ys > FEET - 0.12) & (ys < FEET + TALL * 1.42)).flatten()
    columns = torch.nonzero(xs.abs() < TALL * 0.72).flatten()
    if not len(rows) or not len(columns):
        return
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    px, py = xs[left:right] / TALL, (ys[top:bottom] - FEET) / TALL
    view = c.image[:, :, top:bottom, left:right]
    solid = 1 - c.weight(s.place, PLACES, *(k for k in LOOKS if k != "grid"))
    shadow = contact(px, py, ends) * (there * solid * 0.65)[:, None, None]
    view += (c.dark[:, :, None, None] * 0.6 - view) * shadow[:, None]
    d = distance(px, py, ends, radii)
    pixel = 2 / min(c.h, c.w) / TALL
    body = ((0.5 - d / pixel).clamp(0, 1) * there[:, None, None])[:, None]
    side = torch.sign(c.rays.sun()[:, c.w // 2])[:, None, None]
    slope = torch.roll(d, 1, -1) - torch.roll(d, -1, -1)
    rim = torch.exp(-(((d + 0.012) / 0.013) ** 2)) * smoothstep(-0.6, 0.9, side * slope / (2 * pixel))
    glow = torch.exp(-(d.clamp(min=0) / 0.05)) * 0.40 * (0.6 + 0.9 * c.level)[:, None, None]
    accent = mix(c.sun, c.horizon, 0.35)[:, :, None, None]
    view += (accent - view) * (glow.clamp(max=1) * there[:, None, None])[:, None]
    view += (mix(c.dark * 0.55, c.sun, 0.04)[:, :, None, None] - view) * body
    view += (accent - view) * (rim[:, None] * body)
