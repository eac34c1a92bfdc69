"""The image being drawn, and the brushes every painter shares."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from .geometry import Rays, smoothstep
from .scene import Scene
from .vocabulary import LIGHTS


def rgb(*hexes: str) -> Tensor:
    return torch.tensor([[int(h[i : i + 2], 16) / 255 for i in (0, 2, 4)] for h in hexes])


# One row a light: zenith, middle, horizon, sun, ground, silhouette.
PALETTE = {
    "dawn": rgb("3a3f78", "c9788f", "ffd9a8", "fff0cf", "6b5a78", "33284a"),
    "noon": rgb("1f6fd0", "6fb6f2", "dff2ff", "ffffff", "8fb08a", "28506a"),
    "sunset": rgb("2a1b52", "c23a5e", "ffae3d", "fff2b0", "5a2a4a", "1d1030"),
    "night": rgb("050a1e", "0d1f47", "274a7c", "e8f0ff", "0b1830", "040912"),
    "neon": rgb("12042e", "5a0f8a", "ff2fa0", "35f0ff", "1a0840", "0a0220"),
    "storm": rgb("131a20", "33424a", "6f8384", "b8d0d0", "1f2b2e", "0b1114"),
    "aurora": rgb("03081f", "0a2c4a", "2aa58a", "d8fff0", "0b2f38", "03141d"),
}
assert tuple(PALETTE) == LIGHTS


def mix(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    return a + (b - a) * t


@lru_cache(maxsize=64)
def table(name: str, count: int) -> Tensor:
    """(count,) fixed random numbers 0..1."""
    return torch.rand(count, generator=torch.Generator().manual_seed(sum(map(ord, name)) * 7919 + count))


def pick(name: str, index: Tensor, count: int) -> Tensor:
    return table(name, count).to(index.device)[torch.remainder(index, count).long() % count]


def ridge(u: Tensor, period: float, name: str, harmonics: tuple[int, ...], rough: float) -> Tensor:
    """A skyline: a sum of sines that repeats after `period`, about -1..1."""
    out = torch.zeros_like(u)
    total = 0.0
    for i, k in enumerate(harmonics):
        gain = float(k) ** -rough
        out = out + gain * torch.sin(u * (2 * pi * k / period) + float(table(name, 16)[i]) * 2 * pi)
        total += gain
    return out / total * 1.6


@lru_cache(maxsize=4)
def clouds(device: str) -> Tensor:
    """(96, 1024) seamless cloud density 0..1, rows from horizon to zenith."""
    g = torch.Generator().manual_seed(5)
    out = torch.zeros(96, 1024)
    for fx, fy, gain in ((6, 3, 1.0), (13, 6, 0.55), (27, 12, 0.3), (54, 24, 0.16)):
        noise = torch.rand(1, 1, fy + 1, fx, generator=g)
        noise = torch.cat([noise, noise[..., :2]], -1)
        big = F.interpolate(noise, (96, int(1024 * (fx + 2) / fx)), mode="bicubic", align_corners=False)
        out += gain * big[0, 0, :, :1024]
    # Blend the seam: the last 128 columns fade into what lies before column 0.
    fade = torch.linspace(0, 1, 128)
    out[:, -128:] = out[:, -128:] * (1 - fade) + out[:, :128].flip(-1) * fade
    out = (out - out.mean()) / out.std()
    return smoothstep(-0.1, 1.9, out).to(device)


@lru_cache(maxsize=16)
def specks(device: str, name: str, count: int, height: int, width: int, length: int, radius: float) -> Tensor:
    """(height, width) seamless field of soft specks, `length` pixels tall: stars, snow, rain."""
    g = torch.Generator().manual_seed(sum(map(ord, name)))
    field = torch.zeros(height, width)
    ys = torch.randint(0, height, (count,), generator=g)
    xs = torch.randint(0, width, (count,), generator=g)
    bright = torch.rand(count, generator=g) * 0.7 + 0.3
    reach = int(radius * 2.5) + 1
    dy, dx = torch.arange(-reach, length + reach), torch.arange(-reach, reach + 1)
    off = torch.where(dy < 0, -dy, (dy - length).clamp(min=0))
    stamp = torch.exp(-(off[:, None] ** 2 + dx[None] ** 2).float() / (radius * radius))
    for y, x, b in zip(ys.tolist(), xs.tolist(), bright.tolist(), strict=True):
        at = (torch.remainder(y + dy, height)[:, None], torch.remainder(x + dx, width)[None])
        field[at] = torch.maximum(field[at], b * stamp)
    return field.to(device)


def sample(field: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A field (h, w) that wraps, read bilinearly at u, v 0..1 (n, a, b)."""
    h, w = field.shape
    x, y = u * w - 0.5, v * h - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = x - x0, y - y0
    x0, y0 = x0.long() % w, y0.long() % h
    x1, y1 = (x0 + 1) % w, (y0 + 1) % h
    return mix(mix(field[y0, x0], field[y0, x1], fx), mix(field[y1, x0], field[y1, x1], fx), fy)


class Canvas:
    """One batch being drawn: the image, the rays and the colours every layer needs."""

    def __init__(self, s: Scene, height: int, width: int) -> None:
        self.s, self.h, self.w = s, height, width
        dev, n = s.time.device, len(s)
        self.dev = dev
        self.rays = r = Rays.of(s, height, width)
        self.y, self.pan = r.y, r.pan
        self.px = (2 / min(height, width)) / s.zoom[:, None]  # one pixel in screen units, (n, 1)
        colours = torch.einsum("nl,lkc->nkc", s.light, torch.stack([PALETTE[k] for k in LIGHTS]).to(dev))
        warm = 1 + 0.18 * s.seed[:, 0:1, None] * torch.tensor([1.0, 0.0, -1.0], device=dev)
        colours = (colours * warm).clamp(0, 1)
        self.zenith, self.middle, self.horizon, self.sun, self.ground, self.dark = colours.unbind(1)
        self.level, self.bass, self.treble, self.onset = s.sound.unbind(-1)
        self.image = torch.zeros(n, 3, height, width, device=dev)

    def weight(self, kind: Tensor, names: tuple[str, ...], *which: str) -> Tensor:
        return torch.stack([kind[:, names.index(k)] for k in which]).sum(0)

    def lay(self, colour: Tensor, mask: Tensor) -> None:
        """Put (n, 3), (n, 3, h, 1) or (n, 3, h, w) colour where mask (n, h, w) is 1."""
        if colour.dim() == 2:
            colour = colour[:, :, None, None]
        self.image += (colour - self.image) * mask[:, None]

    def glow(self, colour: Tensor, light: Tensor) -> None:
        self.image += colour[:, :, None, None] * light[:, None]

    def below(self, skyline: Tensor) -> Tensor:
        """(n, h, w) 1 under a skyline (n, w) or (n, h, w), anti-aliased."""
        line = skyline if skyline.dim() == 3 else skyline[:, None, :]
        return ((line - self.y[:, :, None]) / self.px[:, :, None] + 0.5).clamp_(0, 1)

    def edge(self, distance: Tensor) -> Tensor:
        """(n, h, w) 1 where a signed distance in screen units is negative, anti-aliased."""
        return (0.5 - distance / self.px[:, :, None]).clamp_(0, 1)
