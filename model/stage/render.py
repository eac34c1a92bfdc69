"""Draws a `Scene`: bold shapes, strong light, real parallax. Pure torch, any device, deterministic.

Screen units: y is -1..1 from bottom to top, x is in the same units. The camera is a pinhole at height CAMERA over the
ground; an object at depth d and height h stands at y = (h - CAMERA) / d. Yaw turns the whole panorama, strafe moves
near things more than far ones, forward brings them closer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import pi

import torch
from torch import Tensor

from .figure import distance, skeleton
from .scene import PANORAMA, ROAD, STREET, Scene
from .vocabulary import FIGURES, LIGHTS, PLACES, TINTS, WEATHERS

CAMERA = 0.55
SLICES = 4  # depth planes on which near objects stand


def _rgb(*hexes: str) -> Tensor:
    return torch.tensor([[int(h[i : i + 2], 16) / 255 for i in (0, 2, 4)] for h in hexes])


# One row a light: zenith, middle, horizon, sun, ground, silhouette.
LIGHT = {
    "dawn": _rgb("3a3f78", "c9788f", "ffd9a8", "fff0cf", "6b5a78", "33284a"),
    "noon": _rgb("1f6fd0", "6fb6f2", "dff2ff", "ffffff", "8fb08a", "28506a"),
    "sunset": _rgb("2a1b52", "c23a5e", "ffae3d", "fff2b0", "5a2a4a", "1d1030"),
    "night": _rgb("050a1e", "0d1f47", "274a7c", "e8f0ff", "0b1830", "040912"),
    "neon": _rgb("12042e", "5a0f8a", "ff2fa0", "35f0ff", "1a0840", "0a0220"),
    "storm": _rgb("131a20", "33424a", "6f8384", "b8d0d0", "1f2b2e", "0b1114"),
}
TINT = {
    "plain": (0.0, _rgb("808080")),
    "red": (0.75, _rgb("ff3020")),
    "gold": (0.75, _rgb("ffb52a")),
    "green": (0.75, _rgb("2fd060")),
    "blue": (0.75, _rgb("2f7bff")),
    "violet": (0.75, _rgb("9a4bff")),
    "pink": (0.75, _rgb("ff5fb4")),
    "mono": (1.0, _rgb("ffffff")),
}


def _mix(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    return a + (b - a) * t


def _smooth(low: float, high: float, v: Tensor) -> Tensor:
    t = ((v - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _wrap(v: Tensor, period: float) -> Tensor:
    return torch.remainder(v + period / 2, period) - period / 2


@lru_cache(maxsize=8)
def _table(name: str, count: int) -> Tensor:
    """(count,) fixed random numbers 0..1."""
    return torch.rand(count, generator=torch.Generator().manual_seed(sum(map(ord, name)) * 7919 + count))


def _pick(name: str, index: Tensor, count: int) -> Tensor:
    return _table(name, count).to(index.device)[torch.remainder(index, count).long() % count]


def _ridge(u: Tensor, period: float, name: str, harmonics: tuple[int, ...], rough: float) -> Tensor:
    """A skyline: a sum of sines that repeats after `period`, about -1..1."""
    out = torch.zeros_like(u)
    total = 0.0
    for i, k in enumerate(harmonics):
        gain = float(k) ** -rough
        out = out + gain * torch.sin(u * (2 * pi * k / period) + float(_table(name, 16)[i]) * 2 * pi)
        total += gain
    return out / total * 1.6


@lru_cache(maxsize=4)
def _clouds(device: str) -> Tensor:
    """(96, 1024) seamless cloud density 0..1, rows from horizon to zenith."""
    g = torch.Generator().manual_seed(5)
    out = torch.zeros(96, 1024)
    for fx, fy, gain in ((6, 3, 1.0), (13, 6, 0.55), (27, 12, 0.3), (54, 24, 0.16)):
        noise = torch.rand(1, 1, fy + 1, fx, generator=g)
        noise = torch.cat([noise, noise[..., :2]], -1)
        big = torch.nn.functional.interpolate(
            noise, (96, int(1024 * (fx + 2) / fx)), mode="bicubic", align_corners=False
        )
        out += gain * big[0, 0, :, :1024]
    # Blend the seam: the last 128 columns fade into what lies before column 0.
    fade = torch.linspace(0, 1, 128)
    out[:, -128:] = out[:, -128:] * (1 - fade) + out[:, :128].flip(-1) * fade
    out = (out - out.mean()) / out.std()
    return _smooth(-0.1, 1.9, out).to(device)


@lru_cache(maxsize=8)
def _specks(device: str, name: str, count: int, height: int, width: int, length: int, radius: float) -> Tensor:
    """(height, width) seamless field of soft specks, `length` pixels tall: stars, snow, rain."""
    g = torch.Generator().manual_seed(sum(map(ord, name)))
    field = torch.zeros(height, width)
    ys = torch.randint(0, height, (count,), generator=g)
    xs = torch.randint(0, width, (count,), generator=g)
    bright = torch.rand(count, generator=g) * 0.7 + 0.3
    reach = int(radius * 2.5) + 1
    for y, x, b in zip(ys.tolist(), xs.tolist(), bright.tolist(), strict=True):
        for dy in range(-reach, length + reach):
            off = -dy if dy < 0 else max(0, dy - length)
            for dx in range(-reach, reach + 1):
                v = b * float(torch.exp(torch.tensor(-(off * off + dx * dx) / (radius * radius))))
                r, c = (y + dy) % height, (x + dx) % width
                field[r, c] = max(float(field[r, c]), v)
    return field.to(device)


class _Canvas:
    """One batch being drawn: the picture and the coordinates and colours every layer needs."""

    def __init__(self, s: Scene, height: int, width: int) -> None:
        self.s, self.h, self.w = s, height, width
        dev, n = s.time.device, len(s)
        self.dev = dev
        aspect = width / height
        zoom = s.zoom[:, None]
        ys = 1 - (torch.arange(height, device=dev) + 0.5) * 2 / height
        xs = ((torch.arange(width, device=dev) + 0.5) * 2 / width - 1) * aspect
        self.xs, self.ys = xs, ys
        sway = 0.10 * s.seed[:, 1:2]  # this world's horizon
        self.x = xs[None] / zoom  # (n, w)
        self.y = ys[None] / zoom + s.pitch[:, None] + 0.12 + sway  # (n, h), 0 at the horizon
        self.pan = _wrap(self.x + s.yaw[:, None], PANORAMA)  # (n, w)
        self.px = (2 / height) / zoom  # one pixel in screen units, (n, 1)
        table = torch.stack([LIGHT[k] for k in LIGHTS]).to(dev)  # (L, 6, 3)
        colours = torch.einsum("nl,lkc->nkc", s.light, table)
        warm = 1 + 0.18 * s.seed[:, 0:1, None] * torch.tensor([1.0, 0.0, -1.0], device=dev)
        colours = (colours * warm).clamp(0, 1)
        self.zenith, self.middle, self.horizon, self.sun, self.ground, self.dark = colours.unbind(1)
        self.image = torch.zeros(n, 3, height, width, device=dev)
        self.sun_x = 1.1 * s.seed[:, 2]

    def weight(self, kind: Tensor, names: tuple[str, ...], *which: str) -> Tensor:
        return sum(kind[:, names.index(k)] for k in which)  # type: ignore[return-value]

    def lay(self, colour: Tensor, mask: Tensor) -> None:
        """Put (n, 3), (n, 3, h, 1) or (n, 3, h, w) colour where mask (n, h, w) is 1."""
        if colour.dim() == 2:
            colour = colour[:, :, None, None]
        self.image += (colour - self.image) * mask[:, None]

    def glow(self, colour: Tensor, light: Tensor) -> None:
        self.image += colour[:, :, None, None] * light[:, None]

    def below(self, skyline: Tensor) -> Tensor:
        """(n, h, w) 1 under a skyline (n, w), anti-aliased."""
        return ((skyline[:, None, :] - self.y[:, :, None]) / self.px[:, :, None] + 0.5).clamp_(0, 1)


def _sky(c: _Canvas, stars: Tensor, clouds: Tensor) -> None:
    s = c.s
    t = c.y.clamp(-0.05, 1.4)[:, None, :]  # (n, 1, h)
    low = _mix(c.horizon[:, :, None], c.middle[:, :, None], _smooth(0.0, 0.45, t))
    rows = _mix(low, c.zenith[:, :, None], _smooth(0.3, 1.3, t))
    c.image[:] = rows[..., None]
    if float(stars.max()) > 0.01:
        field = _specks(str(c.dev), "stars", 420, 288, 1024, 0, 0.8)
        column = torch.remainder(c.pan / PANORAMA * 1024, 1024).long() % 1024
        row = torch.remainder(c.y * 144, 288).long() % 288
        sky = field[row[:, :, None], column[:, None, :]]
        twinkle = 0.8 + 0.2 * torch.sin(2 * pi * s.time / 4 + 3)
        c.glow(torch.ones_like(c.sun), sky * (stars * twinkle)[:, None, None] * _smooth(0.0, 0.3, c.y)[:, :, None])
    # Sun or moon: high at noon, on the horizon at dawn and sunset.
    height = torch.tensor([0.16, 0.95, 0.10, 0.62, 0.30, 0.80], device=c.dev)
    size = torch.tensor([0.13, 0.10, 0.19, 0.085, 0.34, 0.05], device=c.dev)
    power = torch.tensor([0.9, 1.0, 1.0, 0.85, 1.0, 0.0], device=c.dev)
    spread = torch.tensor([0.55, 0.45, 0.75, 0.30, 0.65, 0.5], device=c.dev)
    y0, r0, p0, sp = ((s.light @ v)[:, None, None] for v in (height, size, power, spread))
    dx = _wrap(c.pan - c.sun_x[:, None], PANORAMA)[:, None, :]
    dy = c.y[:, :, None] - y0
    r = torch.hypot(dx, dy)
    pulse = 1 + 0.25 * s.energy[:, None, None]
    edge = ((r0 * pulse - r) / c.px[:, :, None] + 0.5).clamp_(0, 1) * p0
    halo = torch.exp(-((r / (sp * pulse)) ** 2) * 2.2) * 0.55 * p0
    c.lay(c.sun, halo)
    neon = c.weight(s.light, LIGHTS, "neon")[:, None, None]
    bands = (torch.sin((dy / r0 - 0.4) ** 2 * 16 * torch.sign(0.4 - dy / r0)) > -0.2).float()
    edge = edge * (1 - neon * (1 - bands) * (dy < 0.35 * r0).float())
    c.lay(_mix(c.sun, c.horizon, neon[:, :, 0] * 0.35), edge)
    if float(clouds.max()) > 0.01:
        tex = _clouds(str(c.dev))
        where = torch.remainder((c.pan + s.time[:, None] * (PANORAMA / 64)) / PANORAMA * 1024, 1024)
        i0 = where.floor().long() % 1024
        f = where - where.floor()
        row = (c.y / 1.35 * 95).clamp(0, 95).long()
        d = _mix(tex[row[:, :, None], i0[:, None, :]], tex[row[:, :, None], (i0[:, None, :] + 1) % 1024], f[:, None, :])
        d = d * clouds[:, None, None] * _smooth(0.02, 0.35, c.y)[:, :, None]
        storm = c.weight(s.light, LIGHTS, "storm")[:, None]
        colour = _mix(_mix(c.sun, c.horizon, 0.45), c.zenith * 0.55, storm * 0.8)
        c.lay(colour, d * 0.85)
    flash = c.weight(s.light, LIGHTS, "storm") * torch.exp(-torch.remainder(s.time, 4.0) * 7) * 0.55
    c.image += flash[:, None, None, None] * (1 - c.image)


def _range(c: _Canvas, name: str, base: float, tall: float, depth: float, rough: float, snow: bool = False) -> None:
    """A far skyline at infinity; `depth` 0 is as hazy as the sky, 1 is dark."""
    crest = _ridge(c.pan, PANORAMA, name, (2, 3, 5, 8, 13, 21, 34), rough)
    sky = base + tall * (0.5 + 0.5 * crest)
    colour = _mix(c.horizon, c.dark, depth)
    c.lay(colour, c.below(sky))
    if snow:
        slope = _ridge(c.pan + 0.15, PANORAMA, name, (2, 3, 5, 8, 13, 21, 34), rough) - crest
        cap = c.below(sky) * (1 - c.below(base + tall * 0.72 + 0.06 * torch.sin(c.pan * 18 * pi / PANORAMA * 4)))
        c.lay(
            _mix(c.horizon, c.sun, 0.7),
            cap * (0.45 + 0.5 * (slope > 0).float())[:, None, :],
        )
        lit = c.below(sky) * ((slope > 0).float() * 0.22)[:, None, :]
        c.lay(c.horizon, lit)


def _depths(c: _Canvas) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Near planes from back to front: (which content, depth (n, 1), how visible (n, 1))."""
    flow = torch.remainder(c.s.z, ROAD) / ROAD * SLICES  # one unit: every plane moves to where the next one was
    frac = torch.remainder(flow, 1.0)[:, None]
    first = flow.floor()
    planes = []
    for k in range(SLICES - 1, -1, -1):
        d = 0.85 * (1.95 ** (k + 1 - frac))
        seen = torch.ones_like(d)
        if k == SLICES - 1:
            seen = _smooth(0.0, 0.8, frac)
        elif k == 0:
            seen = 1 - _smooth(0.45, 1.0, frac)
        planes.append((k + first[:, None], d, seen))
    return planes


def _objects(c: _Canvas, shape: Callable[[Tensor, Tensor, Tensor], Tensor], haze: float = 0.75) -> None:
    """Things standing on the near planes: shape(u, which, y_world) -> mask-ready skyline height."""
    for which, d, seen in _depths(c):
        u = torch.remainder(c.pan * d + c.s.x[:, None] + which * 2.3, STREET)
        # Nothing stands across the seam straight behind the camera.
        room = _smooth(0.0, 0.35, PANORAMA / 2 - c.pan.abs())
        tall = shape(u, which, d) * room
        y = (tall - CAMERA) / d
        far = (1 - 1 / d) ** 1.5 * haze
        mask = c.below(y) * (1 - c.below(torch.zeros_like(y) - CAMERA / d)) * (tall > 0.01)[:, None, :]
        c.lay(_mix(c.dark, _mix(c.middle, c.horizon, 0.6), far), mask * seen[:, :, None])


def _pines(u: Tensor, which: Tensor, d: Tensor) -> Tensor:
    count = 10
    cell = u / STREET * count
    i = cell.floor()
    here = torch.remainder(i + which * 3, count)
    size = 0.75 + 0.9 * _pick("pine", here, 32)
    off = (cell - i - 0.5 - 0.3 * (_pick("pine offset", here, 32) - 0.5)) * (STREET / count)
    a = off.abs()
    saw = 0.06 * torch.remainder(a * 14, 1.0)
    return (size - a * size * 3.4 - saw).clamp(min=0) * (_pick("pine there", here, 32) > 0.15).float()


def _towers(u: Tensor, which: Tensor, d: Tensor) -> Tensor:
    count = 12
    cell = u / STREET * count
    i = cell.floor()
    here = torch.remainder(i + which * 5, count)
    size = 0.6 + 1.9 * _pick("tower", here, 32) ** 1.5
    half = 0.30 + 0.17 * _pick("tower width", here, 32)
    off = (cell - i - 0.5).abs()
    spire = 0.25 * (off < 0.03).float() * (_pick("spire", here, 32) > 0.6).float()
    return (size + spire) * (off < half).float()


def _cacti(u: Tensor, which: Tensor, d: Tensor) -> Tensor:
    count = 5
    cell = u / STREET * count
    i = cell.floor()
    here = torch.remainder(i + which * 2, count)
    off = (cell - i - 0.5) * (STREET / count)
    rock = (0.42 * _pick("rock", here, 16) - (off.abs() - 0.05).clamp(min=0) ** 2 * 2.6).clamp(min=0)
    trunk = 0.9 * (1 - (off / 0.075) ** 4).clamp(min=0) ** 0.25
    arm = 0.62 * (1 - ((off - 0.19) / 0.05) ** 4).clamp(min=0) ** 0.25
    cactus = torch.maximum(trunk, arm)
    return torch.where(_pick("cactus", here, 16) > 0.45, cactus, rock)


def _windows(c: _Canvas) -> None:
    """Lit windows on every tower plane."""
    lit = 0.25 + 0.75 * c.weight(c.s.light, LIGHTS, "night", "neon", "storm", "sunset", "dawn").clamp(0, 1)
    for which, d, seen in _depths(c):
        u = torch.remainder(c.pan * d + c.s.x[:, None] + which * 2.3, STREET)
        tall = _towers(u, which, d) * _smooth(0.0, 0.35, PANORAMA / 2 - c.pan.abs())
        world = c.y[:, :, None] * d[:, :, None] + CAMERA  # height in the world on this plane
        fx, fy = torch.remainder(u * 9, 1.0)[:, None, :], torch.remainder(world * 7, 1.0)
        on = (
            _pick("window", ((u * 9).floor() * 7)[:, None, :] + (world * 7).floor() * 13 + which[:, :, None] * 5, 64)
            > 0.5
        )
        w = (
            ((fx - 0.5).abs() < 0.28)
            & ((fy - 0.5).abs() < 0.26)
            & on
            & (world > 0.12)
            & (world < tall[:, None, :] - 0.05)
        )
        crisp = (1.6 / d).clamp(0, 1) * seen * lit[:, None] * (1 + 0.5 * c.s.energy[:, None])
        c.lay(_mix(c.sun, _mix(c.horizon, c.sun, 0.3), 0.6),
              w.float() * (crisp * 0.8).clamp(0, 1)[:, :, None])  # fmt: skip


def _ground(c: _Canvas, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A plane to the horizon; returns world x, world z (n, h, w) and the mask for its texture.

    Straight behind the camera, where the panorama closes, the texture fades out: it would not match.
    """
    depth = CAMERA / (-c.y).clamp(min=0.012)  # (n, h)
    mask = c.below(torch.zeros_like(c.pan))
    t = _smooth(0.0, 0.75, -c.y)[:, None, :, None]
    c.lay(_mix(far[:, :, None, None], near[:, :, None, None], t).expand(-1, -1, -1, c.w), mask)
    wx = c.pan[:, None, :] * depth[:, :, None] + c.s.x[:, None, None]
    wz = depth + c.s.z[:, None]
    return wx, wz, mask * _smooth(0.0, 0.7, PANORAMA / 2 - c.pan.abs())[:, None, :]


def _sea(c: _Canvas) -> None:
    _sky(c, c.weight(c.s.light, LIGHTS, "night", "neon"), 0.75 * torch.ones_like(c.s.time))
    _range(c, "isle", -0.03, 0.10, 0.35, 0.8)
    deep = _mix(c.zenith, c.dark, 0.35)
    wx, wz, mask = _ground(c, deep, _mix(c.middle, c.horizon, 0.35))
    fade = (1.6 / (wz - c.s.z[:, None]).clamp(min=1)).clamp(max=1)[:, :, None]
    t = c.s.time[:, None, None] * (2 * pi / 4)
    k = 2 * pi / ROAD
    swell = torch.sin(wz[:, :, None] * k * 3 + 0.8 * torch.sin(wx * (2 * pi / STREET) * 2) + t)
    chop = torch.sin(wz[:, :, None] * k * 7 - wx * (2 * pi / STREET) * 3 + t * 2)
    crest = _smooth(0.35, 1.25, 0.7 * swell + 0.5 * chop)
    c.lay(_mix(c.horizon, c.sun, 0.3), crest * mask * fade * 0.5)
    dx = _wrap(c.pan - c.sun_x[:, None], PANORAMA)[:, None, :]
    width = 0.10 + 0.45 * (-c.y).clamp(0, 1)[:, :, None]
    path = torch.exp(-((dx / width) ** 2)) * _smooth(
        -0.5, 0.9, torch.sin(c.y[:, :, None] * 90 / (1 + 2.5 * (-c.y).clamp(0, 1)[:, :, None]) + t * 2 + swell)
    )
    c.lay(c.sun, path * mask * 0.75 * (1 - 0.8 * c.weight(c.s.light, LIGHTS, "storm"))[:, None, None])


def _desert(c: _Canvas) -> None:
    _sky(c, c.weight(c.s.light, LIGHTS, "night"), 0.25 * torch.ones_like(c.s.time))
    sand = _mix(c.horizon, torch.tensor([0.93, 0.62, 0.32], device=c.dev), 0.55) * (
        0.35 + 0.65 * c.horizon.mean(-1, keepdim=True)
    )
    for name, base, tall, shade in (("dune a", 0.02, 0.22, 0.25), ("dune b", -0.05, 0.18, 0.5)):
        crest = _ridge(c.pan, PANORAMA, name, (2, 3, 5), 0.5)
        sky = base + tall * (0.5 + 0.5 * (1 - crest.abs() * 1.1))
        slope = torch.sin(c.pan * (2 * pi / PANORAMA) * 5 + 2)
        m = c.below(sky)
        c.lay(_mix(sand, c.dark, shade), m)
        c.lay(
            _mix(sand, c.sun, 0.25),
            m * _smooth(-0.1, 0.3, slope)[:, None, :] * (0.8 - shade),
        )
    wx, wz, mask = _ground(c, _mix(sand, c.dark, 0.35), sand)
    k = 2 * pi / ROAD
    ripple = torch.sin(wz[:, :, None] * k * 6 + 1.2 * torch.sin(wx * (2 * pi / STREET) * 2))
    fade = (1.5 / (wz - c.s.z[:, None]).clamp(min=1)).clamp(max=1)[:, :, None]
    c.lay(c.dark, _smooth(0.2, 1.0, ripple) * mask * fade * 0.30)
    _objects(c, _cacti)


def _forest(c: _Canvas) -> None:
    _sky(c, c.weight(c.s.light, LIGHTS, "night"), 0.4 * torch.ones_like(c.s.time))
    _range(c, "hill", 0.05, 0.30, 0.30, 0.9)
    leaf = torch.tensor([0.16, 0.36, 0.20], device=c.dev) * (0.25 + 0.9 * c.middle.mean(-1, keepdim=True))
    old = c.dark
    c.dark = _mix(old, leaf, 0.55)
    crest = (
        _ridge(c.pan, PANORAMA, "wood", (3, 5, 8), 0.5) * 0.06
        + 0.10
        + 0.05 * torch.remainder(c.pan * 60 / PANORAMA, 1.0)
    )
    c.lay(_mix(c.middle, c.dark, 0.5), c.below(crest))
    _, wz, mask = _ground(c, c.dark * 0.9, _mix(c.dark, c.horizon, 0.25))
    path = torch.exp(
        -(
            (
                (
                    c.pan[:, None, :] * (CAMERA / (-c.y).clamp(min=0.012))[:, :, None]
                    - 0.0
                    + 0.25 * torch.sin(wz[:, :, None] * 2 * pi / ROAD)
                )
                / 0.45
            )
            ** 4
        )
    )
    c.lay(_mix(c.horizon, c.ground, 0.6), path * mask * 0.55)
    _objects(c, _pines, 0.7)
    c.dark = old


def _city(c: _Canvas) -> None:
    _sky(c, c.weight(c.s.light, LIGHTS, "night") * 0.5, 0.3 * torch.ones_like(c.s.time))
    cell = torch.remainder(c.pan, PANORAMA) / PANORAMA * 44
    far = 0.06 + 0.34 * _pick("block", cell.floor(), 44) ** 1.6
    c.lay(_mix(c.middle, c.dark, 0.45), c.below(far))
    _, wz, mask = _ground(c, c.dark, _mix(c.dark, c.horizon, 0.35))
    lane = torch.exp(-(((c.pan[:, None, :] * (CAMERA / (-c.y).clamp(min=0.012))[:, :, None]) / 0.05) ** 2))
    dash = _smooth(-0.1, 0.1, torch.sin(wz[:, :, None] * 2 * pi / ROAD * 4))
    c.lay(c.sun, lane * dash * mask * 0.8)
    # Wet street: the sky's light comes back in long stripes.
    stripe = _smooth(
        0.2, 1.0, torch.sin(c.pan * (2 * pi / PANORAMA) * 22 + 2 * torch.sin(c.pan * 5 * 2 * pi / PANORAMA))
    )
    c.lay(c.horizon, stripe[:, None, :] * mask * _smooth(0.75, 0.0, -c.y)[:, :, None] * 0.28)
    _objects(c, _towers, 0.65)
    _windows(c)


def _mountains(c: _Canvas) -> None:
    _sky(c, c.weight(c.s.light, LIGHTS, "night"), 0.55 * torch.ones_like(c.s.time))
    _range(c, "peak far", 0.02, 0.95, 0.30, 1.05, snow=True)
    _range(c, "peak near", -0.06, 0.55, 0.62, 1.0, snow=True)
    lake = _mix(c.middle, c.horizon, 0.25)
    _, _, mask = _ground(c, _mix(c.zenith, c.dark, 0.4), lake)
    mirror = 0.5 * (0.02 + 0.95 * (0.5 + 0.5 * _ridge(c.pan, PANORAMA, "peak far", (2, 3, 5, 8, 13, 21, 34), 1.05)))
    y = (-c.y)[:, :, None] + 0.012 * torch.sin(c.y[:, :, None] * 120 + c.s.time[:, None, None] * 2 * pi / 4)
    refl = ((mirror[:, None, :] - y) * 40).clamp(0, 1)
    c.lay(_mix(c.middle, c.dark, 0.6), refl * mask * 0.6)
    _objects(c, lambda u, w, d: _pines(u, w, d) * 0.45 * (w > -9), 0.6)


def _space(c: _Canvas) -> None:
    s = c.s
    old = c.zenith, c.middle, c.horizon
    c.zenith, c.middle, c.horizon = c.zenith * 0.18, c.zenith * 0.32, c.middle * 0.5
    _sky(c, torch.ones_like(s.time), torch.zeros_like(s.time))
    c.zenith, c.middle, c.horizon = old
    tex = _clouds(str(c.dev))
    column = torch.remainder(c.pan / PANORAMA * 1024, 1024).long() % 1024
    row = ((c.y + 1.2) / 2.6 * 95).clamp(0, 95).long()
    c.lay(
        _mix(c.middle, c.horizon, 0.5),
        tex[row[:, :, None], column[:, None, :]] * 0.55,
    )
    for px, py, pr, ring in ((-1.9, 0.62, 0.42, True), (1.3, 0.45, 0.16, False), (3.2, 0.75, 0.28, False)):
        dx = _wrap(c.pan - px - 0.15 * torch.sin(2 * pi * s.x / STREET)[:, None], PANORAMA)[:, None, :]
        dy = c.y[:, :, None] - py
        r = torch.hypot(dx, dy)
        disc = ((pr - r) / c.px[:, :, None] + 0.5).clamp(0, 1)
        light = _smooth(-0.9, 1.0, (dx * 0.7 + dy * 0.7) / pr)
        band = 0.5 + 0.5 * torch.sin(dy / pr * 9 + torch.sin(dx / pr * 3))
        body = _mix(
            c.dark[:, :, None, None],
            _mix(c.horizon[:, :, None, None], c.middle[:, :, None, None], band[:, None]),
            light[:, None],
        )
        c.lay(body, disc)
        if ring:
            e = torch.hypot(dx, dy * 3.6 + dx * 0.9)
            line = torch.exp(-(((e - pr * 1.75) / (pr * 0.22)) ** 2)) * (1 - disc * (dy + dx * 0.25 > 0).float())
            c.lay(c.sun, line * 0.75)
    # A moon's ground to stand on.
    wx, wz, mask = _ground(
        c,
        _mix(c.dark, c.ground, 0.5),
        _mix(c.ground, c.horizon, 0.45),
    )
    pits = torch.sin(wz[:, :, None] * 2 * pi / ROAD * 3) * torch.sin(wx * 2 * pi / STREET * 5)
    fade = (1.6 / (wz - s.z[:, None]).clamp(min=1)).clamp(max=1)[:, :, None]
    c.lay(c.dark, _smooth(0.35, 0.9, pits) * mask * fade * 0.55)
    _objects(c, lambda u, w, d: _cacti(u, w, d).clamp(max=0.30), 0.5)


def _tunnel(c: _Canvas) -> None:
    s = c.s
    cx = (
        0.35 * torch.sin(s.yaw * 2 * pi / PANORAMA)[:, None, None]
        + 0.25 * torch.sin(2 * pi * s.x / STREET)[:, None, None]
    )
    dx, dy = c.x[:, None, :] + cx, (c.y - 0.12)[:, :, None]
    r = torch.hypot(dx, dy).clamp(min=0.03)
    angle = torch.atan2(dy, dx)
    depth = 0.5 / r
    along = depth + s.z[:, None, None] / ROAD * 4 + s.time[:, None, None] / 4 * 3
    rings = torch.sin(2 * pi * along)
    ribs = torch.sin(angle * 8 + s.yaw[:, None, None] * 8 * 2 * pi / PANORAMA)
    far = torch.exp(-depth * 0.55)
    base = _mix(c.zenith[:, :, None, None], c.middle[:, :, None, None], (far * 0.9)[:, None])
    c.image[:] = base
    sharp = (r * 14).clamp(0.8, 8)
    line = ((rings * sharp - sharp * 0.55).clamp(0, 1) * far).clamp(0, 1)
    rib = ((ribs * 4 - 2.4).clamp(0, 1) * far * _smooth(0.05, 0.4, r)).clamp(0, 1)
    c.lay(c.horizon, rib * 0.55)
    c.lay(_mix(c.horizon, c.sun, 0.5), line * (0.75 + 0.25 * s.energy)[:, None, None])
    core = torch.exp(-((r / (0.22 + 0.12 * s.energy[:, None, None])) ** 2))
    c.lay(c.sun, core)


def _grid(c: _Canvas) -> None:
    s = c.s
    _sky(c, torch.ones_like(s.time) * 0.8, torch.zeros_like(s.time))
    _range(c, "isle", -0.02, 0.28, 0.75, 0.35)
    wx, wz, mask = _ground(c, c.dark * 0.8, _mix(c.dark, c.middle, 0.5))
    depth = (wz - s.z[:, None])[:, :, None]
    swell = (
        0.10 * torch.sin(wx * 2 * pi / STREET * 2 + 2 * pi * s.time[:, None, None] / 4) * (1 + s.energy[:, None, None])
    )
    width = 0.018 * depth.clamp(0.5, 8)
    lx = (torch.remainder(wx * 2 + 0.5, 1.0) - 0.5).abs() / 2
    lz = (torch.remainder((wz[:, :, None] + swell) * 2 + 0.5, 1.0) - 0.5).abs() / 2
    line = torch.maximum(1 - lx / width, 1 - lz / (width * (0.6 + depth))).clamp(0, 1)
    fade = torch.exp(-depth / 6) * mask
    c.lay(_mix(c.sun, c.horizon, 0.5), line * fade)
    c.lay(c.horizon, torch.exp(-((c.y / 0.05) ** 2))[:, :, None].expand(-1, -1, c.w) * 0.5)


PAINTERS: dict[str, Callable[[_Canvas], None]] = {
    "sea": _sea,
    "desert": _desert,
    "forest": _forest,
    "city": _city,
    "mountains": _mountains,
    "space": _space,
    "tunnel": _tunnel,
    "grid": _grid,
}


def _weather(c: _Canvas) -> None:
    s = c.s
    fog, rain, snow = (c.weight(s.weather, WEATHERS, k) for k in ("fog", "rain", "snow"))
    haze = _mix(c.horizon, c.middle, 0.4)
    thick = (fog * 0.80 + rain * 0.22 + snow * 0.25)[:, None, None]
    drift = 0.85 + 0.15 * torch.sin(c.pan * 2 * pi / PANORAMA * 3 + 2 * pi * s.time[:, None] / 16)[:, None, :]
    layer = torch.exp(-(((c.y + 0.10) / 0.55) ** 2))[:, :, None] * 0.75 + 0.25
    c.lay(haze, (layer * drift * thick).clamp(0, 1))
    light = _mix(c.horizon, torch.ones_like(c.horizon), 0.6)
    rows, cols = torch.arange(c.h, device=c.dev), torch.arange(c.w, device=c.dev)
    if float(rain.max()) > 0.01:
        field = _specks(str(c.dev), "rain", 90, 288, 512, 26, 0.9)
        r = torch.remainder(rows[None] * (288 / c.h) - s.time[:, None] * 288 * 2, 288).long() % 288
        q = torch.remainder(cols[None] * (288 / c.h) + c.s.yaw[:, None] * 144, 512).long() % 512
        c.lay(light, field[r[:, :, None], q[:, None, :]] * rain[:, None, None] * 0.55)
    if float(snow.max()) > 0.01:
        for name, rate, size, count in (("flake", 1, 2.2, 60), ("fleck", 2, 1.4, 110)):
            field = _specks(str(c.dev), name, count, 288, 512, 0, size)
            r = torch.remainder(rows[None] * (288 / c.h) - s.time[:, None] * 288 * rate / 4, 288).long() % 288
            sway = 10 * torch.sin(2 * pi * s.time[:, None] / 4 + rows[None] * 0.03)
            q = (
                torch.remainder(
                    (cols[None] * (288 / c.h) + c.s.yaw[:, None] * 144)[:, None, :] + sway[:, :, None], 512
                ).long()
                % 512
            )
            c.lay(torch.ones_like(light), field[r[:, :, None], q] * snow[:, None, None] * 0.85)


def _figure(c: _Canvas) -> None:
    s = c.s
    there = 1 - s.figure[:, FIGURES.index("none")]
    if float(there.max()) < 0.01:
        return
    ends, radii = skeleton(s.figure, s.phase)
    size = 1.20  # screen units tall, feet at FEET
    feet = -0.82
    lo = int((1 - (feet + size * 1.42)) / 2 * c.h)
    lo, hi = max(lo, 0), min(int((1 - (feet - 0.10)) / 2 * c.h), c.h)
    half = int(0.62 * c.h / 2 * size)
    left, right = max(c.w // 2 - half, 0), min(c.w // 2 + half, c.w)
    px, py = c.xs[left:right] / size, (c.ys[lo:hi] - feet) / size
    view = c.image[:, :, lo:hi, left:right]
    shadow = torch.exp(-((px[None, None, :] / 0.30) ** 2) - (py[None, :, None] / 0.030) ** 2)
    solid = 1 - c.weight(s.place, PLACES, "tunnel")
    lift = 1 - 1.6 * (ends[:, :, 1::2].amin((1, 2)) - 0.02).clamp(0, 0.4)
    view += (c.dark[:, :, None, None] * 0.6 - view) * (shadow * (there * solid * lift * 0.65)[:, None, None])[:, None]
    d = distance(px, py, ends, radii)
    pixel = 2 / c.h / size
    body = ((0.5 - d / pixel).clamp(0, 1) * there[:, None, None])[:, None]
    # Rim light from the sun's side, so that the figure reads on any ground.
    side = torch.sign(_wrap(c.sun_x - s.yaw, PANORAMA))[:, None, None]
    shifted = torch.roll(d, 1, -1) - torch.roll(d, -1, -1)
    rim = torch.exp(-(((d + 0.012) / 0.013) ** 2)) * _smooth(-0.6, 0.9, side * shifted / (2 * pixel) * -1)
    glow = torch.exp(-(d.clamp(min=0) / 0.05)) * 0.40 * (0.5 + 0.8 * s.energy)[:, None, None]
    accent = _mix(c.sun, c.horizon, 0.35)
    view += (accent[:, :, None, None] - view) * (glow * there[:, None, None])[:, None]
    core = _mix(c.dark * 0.55, c.sun, 0.04)
    view += (core[:, :, None, None] - view) * body
    view += (accent[:, :, None, None] - view) * (rim[:, None] * body)


def _grade(c: _Canvas) -> None:
    s = c.s
    amount = torch.tensor([TINT[k][0] for k in TINTS], device=c.dev)
    colour = torch.cat([TINT[k][1] for k in TINTS]).to(c.dev)
    a = (s.tint @ amount)[:, None, None, None]
    if float(a.max()) > 0.01:
        tone = (s.tint * amount) @ colour / (s.tint @ amount).clamp(min=1e-4)[:, None]
        luma = (c.image * torch.tensor([0.299, 0.587, 0.114], device=c.dev)[:, None, None]).sum(1, keepdim=True)
        dyed = luma * tone[:, :, None, None] * 1.35 + (luma - 0.72).clamp(min=0) * 1.6
        c.image += (dyed - c.image) * a
    r2 = (c.xs[None, :] / (c.w / c.h)) ** 2 + c.ys[:, None] ** 2
    c.image *= (1 - 0.16 * r2) * (1 + 0.12 * s.energy)[:, None, None, None]


def render(s: Scene, height: int = 288, width: int = 512) -> Tensor:
    """(n, 3, height, width) float 0..1 RGB of n moments."""
    image: Tensor | None = None
    c = _Canvas(s, height, width)
    total = torch.zeros(len(s), device=c.dev)
    for i, place in enumerate(PLACES):
        w = s.place[:, i]
        if float(w.max()) < 0.004:
            continue
        PAINTERS[place](c)
        if image is None:
            image = c.image.clone() if float(w.min()) > 0.99 else c.image * w[:, None, None, None]
        else:
            image += c.image * w[:, None, None, None]
        total += w
    assert image is not None, "a scene has at least one place"
    c.image = image / total.clamp(min=1e-3)[:, None, None, None] if float(total.min()) < 0.99 else image
    _weather(c)
    _figure(c)
    _grade(c)
    return c.image.clamp(0, 1)
