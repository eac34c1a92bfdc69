"""Where a line of sight goes: the one place that knows the camera. The stage draws by it, the world model reads by it.

Screen units: y is -1..1 from bottom to top of a landscape frame, x is in the same units. The camera is a pinhole at
height CAMERA over the ground; a thing at depth d and height h stands at y = (h - CAMERA) / d. Yaw turns the whole
panorama, strafe moves near things more than far ones, forward brings them closer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from .constants import constant
from .scene import PANORAMA, ROAD, STREET, Scene

CAMERA_HEIGHT = 0.55
HORIZON = 0.12  # screen units the horizon lies below the middle
SWAY = 0.10  # how much of that the seed moves
SUN_SWAY = 1.1
DEPTH_PLANES = 4  # depth planes on which near things stand
NEAREST, SPACING = 0.85, 1.95  # depth of the nearest plane, and of each next one to the one before
STAGGER = 2.0  # world units by which each plane's content is shifted along the street
SPIRAL = 1.6  # the log-polar looks repeat when they have grown by exp(SPIRAL)
# Travelling waves that all fluid things are made of: cycles a panorama in x, cycles in 4 units of y, turns in 16 s.
FLOWS = ((1, 1, 2), (2, -1, 3), (3, 2, -4), (-2, 3, 5), (5, -2, -3), (4, 4, 6), (7, 1, 8), (-6, 5, -7))
# Travelling waves of the ground: cycles a STREET, cycles a ROAD, turns in 4 s.
SWELLS = ((0, 3, 1), (-3, 7, 2), (3, 2, 1), (4, 0, -1), (2, 0, 1), (0, 1, 1), (2, 0, 0), (0, 6, 0))
# Sun or moon by light: height over the horizon and radius, in screen units.
#             dawn  noon  sunset night neon  storm aurora
SUN_HEIGHT = (0.16, 0.95, 0.10, 0.62, 0.30, 0.80, 0.95)
SUN_RADIUS = (0.13, 0.10, 0.19, 0.085, 0.34, 0.05, 0.05)
# How drops move: tiles a second upwards (what falls is negative), and how far they swing, layer by layer.
MOTES = {
    "rain": ((-2.0, 0.0),),
    "snow": ((-0.25, 0.07), (-0.5, 0.07)),
    "embers": ((0.5, 0.05), (0.25, 0.05)),
    "petals": ((-0.25, 0.16), (-0.25, 0.10)),
    "bubbles": ((0.25, 0.06),),
}
# How the log-polar looks move: quarter turns in 16 s, times they grow in 4 s, layer by layer.
SPIRALS = {"tunnel": ((1, 1),), "particles": ((-1, 1), (2, 2)), "kaleidoscope": ((1, 1), (-2, 0))}


def screen(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Centres of the pixels (or latents) in screen units: x (width,), y (height,) from top to bottom.

    The shorter side is 2 units long, so that a cell has one size in 16:9, 1:1 and 9:16.
    """
    unit = min(height, width) / 2
    xs = (torch.arange(width, device=device) + 0.5 - width / 2) / unit
    ys = (height / 2 - torch.arange(height, device=device) - 0.5) / unit
    return xs, ys


def wrap(v: Tensor, period: float) -> Tensor:
    """Into -period/2..period/2."""
    return torch.remainder(v + period / 2, period) - period / 2


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """The length of (x, y), as `torch.hypot`, of operations that every runtime has."""
    return (x * x + y * y).sqrt()


def smoothstep(low: float, high: float, v: Tensor) -> Tensor:
    """0 below low, 1 above high, 3 t^2 - 2 t^3 between (Hermite, as GLSL's smoothstep)."""
    t = ((v - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


@dataclass
class Rays:
    """Lines of sight of n cameras: x (n, w) and y (n, h) with y 0 at the horizon; pan (n, w) around the panorama."""

    scene: Scene
    x: Tensor
    y: Tensor
    pan: Tensor
    screen_x: Tensor
    screen_y: Tensor

    @classmethod
    def of(cls, s: Scene, height: int, width: int) -> Rays:
        xs, ys = screen(height, width, s.time.device)
        zoom = s.zoom[:, None]
        x = xs[None] / zoom
        y = ys[None] / zoom + (s.pitch + HORIZON + SWAY * s.seed[:, 1])[:, None]
        return cls(s, x, y, wrap(x + s.yaw[:, None], PANORAMA), xs, ys)

    def sun(self) -> Tensor:
        """(n, w) how far right of the sun's bearing."""
        return wrap(self.pan - SUN_SWAY * self.scene.seed[:, 2:3], PANORAMA)

    def sun_side(self) -> Tensor:
        """(n,) how far right of the sun's bearing the middle of the screen is."""
        return wrap(self.scene.yaw - SUN_SWAY * self.scene.seed[:, 2], PANORAMA)

    def finer_first(self, finer: int) -> Rays:
        """The same lines of sight in another order, across and down: first every one that lies first in its group of
        `finer`, then every second one, and so on. Each of the finer * finer parts is a coarser grid."""

        def parted(v: Tensor) -> Tensor:
            return torch.cat([v[..., i::finer] for i in range(finer)], -1)

        return Rays(
            self.scene, parted(self.x), parted(self.y), parted(self.pan), parted(self.screen_x), parted(self.screen_y)
        )

    def front(self, width: float) -> Tensor:
        """(n, w) 1, and 0 straight behind the camera, where the panorama closes and near things would not match."""
        return smoothstep(0.0, width, PANORAMA / 2 - self.pan.abs())

    def ground(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the ground is met: world x (n, h, w), world z (n, h) and how far ahead (n, h)."""
        reach = CAMERA_HEIGHT / (-self.y).clamp(min=0.012)
        wx = self.pan[:, None, :] * reach[:, :, None] + self.scene.x[:, None, None]
        return wx, reach + self.scene.z[:, None], reach

    def planes(self, first: Tensor | None = None) -> list[Plane]:
        """Near planes, the nearest first. Forward by ROAD / SLICES puts every plane where the next nearer one was.

        first: (n, 1) content of the nearest plane where it is known (`first_content`).
        """
        first = first_content(self.scene) if first is None else first
        frac = (torch.remainder(self.scene.z, ROAD) / ROAD * DEPTH_PLANES)[:, None] - first
        found = []
        for k in range(DEPTH_PLANES):
            depth = NEAREST * SPACING ** (k + 1 - frac)
            seen = torch.ones_like(depth)
            if k == DEPTH_PLANES - 1:
                seen = smoothstep(0.0, 0.8, frac)
            elif k == 0:
                seen = 1 - smoothstep(0.45, 1.0, frac)
            content = torch.remainder(k + first, DEPTH_PLANES)
            u = torch.remainder(self.pan * depth + self.scene.x[:, None] + content * STAGGER, STREET)
            found.append(Plane(content, depth, seen, u, self.y * depth + CAMERA_HEIGHT))
        return found

    def spiral(self, turns: float | Tensor, inward: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-polar coordinates around the vanishing point of a look without a horizon.

        Returns bearing 0..1 and growth 0..1 (n, h, w), which both wrap, and the distance r (n, h, w).
        turns: quarter turns a 16 s; inward: how often it repeats in 4 s. Yaw turns it, forward flies in.
        """
        s = self.scene
        x = self.x[:, None, :] + 0.35 * torch.sin(2 * pi * s.x / STREET)[:, None, None]
        y = (self.y - HORIZON)[:, :, None]
        r = hypot(x, y).clamp(min=0.02)
        spin = s.yaw / PANORAMA + turns * s.time / 64
        flow = inward * s.time / 4 + s.z / ROAD * 4
        bearing = torch.remainder(torch.atan2(y, x) / (2 * pi) + spin[:, None, None], 1.0)
        growth = torch.remainder(-r.log() / SPIRAL + flow[:, None, None], 1.0)
        return bearing, growth, r

    def disc(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sun or moon: screen units right of it (n, w) and over it (n, h), its radius (n,), and how bass swells it."""
        s = self.scene
        height, radius = (s.light @ constant(v, s.light) for v in (SUN_HEIGHT, SUN_RADIUS))
        return self.sun(), self.y - height[:, None], radius, 1 + 0.25 * s.sound[:, 1]

    def glitter(self) -> Tensor:
        """(n, h) phase in turns of the glints on water, which draw together towards the horizon."""
        return self.y * (90 / (2 * pi)) / (1 + 2.5 * (-self.y).clamp(0, 1)) + (self.scene.time / 2)[:, None]

    def flows(self) -> Tensor:
        """(n, 8, h, w) phases in turns of the travelling waves FLOWS. Strafe and forward push them too."""
        s = self.scene
        k = constant(FLOWS, s.time)
        push = (s.x / STREET)[:, None] * k[:, 0] + (s.z / ROAD)[:, None] * k[:, 1] + s.time[:, None] / 16 * k[:, 2]
        x = (self.pan / PANORAMA)[:, None, None, :] * k[:, 0, None, None]
        y = (self.y / 4)[:, None, :, None] * k[:, 1, None, None]
        return x + y + push[:, :, None, None]

    def swells(self, wx: Tensor, wz: Tensor) -> Tensor:
        """(n, 8, h, w) phases in turns of the travelling waves SWELLS, where the ground is met (`ground`)."""
        s = self.scene
        k = constant(SWELLS, s.time)
        x = (wx / STREET)[:, None] * k[:, 0, None, None]
        z = (wz / ROAD)[:, None, :, None] * k[:, 1, None, None]
        return x + z + ((s.time / 4)[:, None] * k[:, 2])[:, :, None, None]

    def falling(self, rise: float | Tensor, sway: float | Tensor) -> tuple[Tensor, Tensor]:
        """Position (n, h, w) twice, 0..1 and wrapping, in a tile of drops that fills one landscape screen.

        rise: tiles a second upwards, negative for what falls; sway: screen units it swings within 4 s.
        """
        s = self.scene
        swing = sway * torch.sin(2 * pi * s.time / 4)[:, None, None]
        wobble = sway * torch.sin(2 * pi * (self.screen_y / 2 + s.time[:, None] / 4))[:, :, None]
        x = (self.screen_x[None, None, :] + s.yaw[:, None, None] + swing + wobble) / (PANORAMA / 2)
        y = -self.screen_y[None] / 2 + (s.time * rise)[:, None]
        return torch.remainder(x, 1.0), torch.remainder(y, 1.0)[:, :, None].expand_as(x)


def first_content(s: Scene) -> Tensor:
    """(n, 1) which content stands on the nearest plane."""
    return (torch.remainder(s.z, ROAD) / ROAD * DEPTH_PLANES).floor()[:, None]


@dataclass
class Plane:
    """One near plane: which content (n, 1), its depth and how visible (n, 1), u (n, w) 0..STREET along it, and the
    height in the world that every row looks at (n, h)."""

    content: Tensor
    depth: Tensor
    seen: Tensor
    u: Tensor
    height: Tensor
