"""The six abstract looks of a VJ: no ground to stand on, everything moves by itself."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

from .canvas import Canvas, mix, sample, specks
from .geometry import SPIRALS, smoothstep
from .places import ground, sky, skyline
from .scene import STREET


def _wave(turns: Tensor) -> Tensor:
    return torch.sin(2 * pi * turns)


def tunnel(c: Canvas) -> None:
    bearing, growth, r = c.rays.spiral(*SPIRALS["tunnel"][0])
    dark = smoothstep(0.05, 1.1, r)
    c.image[:] = mix(c.zenith[:, :, None, None], c.middle[:, :, None, None], (1 - dark)[:, None])
    soft = (c.px[:, :, None] / r * 1.2).clamp(0.01, 0.5)
    near = smoothstep(0.06, 0.30, r)
    for rings, thick, strength in ((3, 0.16, 0.95), (9, 0.10, 0.35)):
        at = (torch.remainder(growth * rings, 1.0) - 0.5).abs()
        line = smoothstep(0.0, 1.0, (thick - at) / (soft * rings) + 0.5)
        c.lay(mix(c.horizon, c.sun, 0.5), line * strength * near * (0.72 + 0.28 * c.level)[:, None, None])
    rib = (torch.remainder(bearing * 12 + growth, 1.0) - 0.5).abs()
    c.lay(c.horizon, smoothstep(0.16, 0.06, rib) * 0.55 * near)
    wide = 0.20 + 0.14 * c.bass[:, None, None]
    c.lay(c.sun, torch.exp(-((r / wide) ** 2)))
    c.lay(c.horizon, torch.exp(-((r / (2.2 * wide)) ** 2)) * 0.35)


def grid(c: Canvas) -> None:
    """A glowing net to the horizon; its lines swell with the sound."""
    s = c.s
    sky(c, torch.ones_like(s.time) * 1.5, torch.zeros_like(s.time))
    skyline(c, "isle", -0.02, 0.28, 0.75, 0.35)
    wx, wz, reach, mask = ground(c, c.dark * 0.8, mix(c.dark, c.middle, 0.5))
    push = 0.06 * (1 + 2 * c.bass)[:, None, None]
    swell = push * torch.sin(wx * 2 * pi / STREET * 2 + 2 * pi * s.time[:, None, None] / 4)
    width = 0.018 * reach.clamp(0.5, 8)
    lx = (torch.remainder(wx * 2 + 0.5, 1.0) - 0.5).abs() / 2
    lz = (torch.remainder((wz + swell) * 2 + 0.5, 1.0) - 0.5).abs() / 2
    line = torch.maximum(1 - lx / width, 1 - lz / (width * (0.6 + reach))).clamp(0, 1)
    c.lay(mix(c.sun, c.horizon, 0.5), line * torch.exp(-reach / 6) * mask)
    c.lay(c.horizon, torch.exp(-((c.y / 0.05) ** 2))[:, :, None].expand(-1, -1, c.w) * 0.5)


def particles(c: Canvas) -> None:
    """A swarm that flies out of the centre in two layers, on a soft glow."""
    r = c.rays.spiral(0, 0)[2]
    fade = smoothstep(0.02, 0.35, r)
    c.image[:] = mix(
        c.zenith[:, :, None, None] * 0.5, c.middle[:, :, None, None], torch.exp(-((r / 0.9) ** 2))[:, None]
    )
    layers = (("spark far", 170, 2.0, mix(c.horizon, c.sun, 0.35)), ("spark near", 60, 3.4, c.sun))
    for (name, count, size, tone), move in zip(layers, SPIRALS["particles"], strict=True):
        bearing, growth, _ = c.rays.spiral(*move)
        field = specks(str(c.dev), name, count, 96, 384, 3, size)
        light = sample(field, bearing, growth) ** 1.6 * fade
        c.lay(tone, (light * (0.8 + 0.6 * c.treble)[:, None, None]).clamp(0, 1))
    core = 0.14 + 0.22 * c.bass[:, None, None]
    c.lay(mix(c.horizon, c.sun, 0.5), torch.exp(-((r / core) ** 2)) * 0.8)


def liquid(c: Canvas) -> None:
    """Slow folds of coloured oil with a wet shine."""
    f = c.rays.flows().unbind(1)
    a = _wave(f[0] + 0.22 * _wave(f[2])) + 0.7 * _wave(f[1] + 0.30 * _wave(f[3]))
    b = _wave(f[4] + 0.25 * a) + 0.5 * a
    low = mix(c.zenith[:, :, None, None], c.middle[:, :, None, None], smoothstep(-1.2, 0.8, a)[:, None])
    c.image[:] = mix(low, c.horizon[:, :, None, None], smoothstep(0.2, 1.4, b)[:, None])
    fold = smoothstep(0.30, 0.0, (b - 0.15).abs())
    c.lay(c.dark, fold * 0.5)
    shine = smoothstep(0.72, 1.0, _wave((a + b) * 0.28 + 0.12)) * smoothstep(0.0, 1.0, a)
    c.lay(c.sun, shine * (0.62 + 0.38 * c.level)[:, None, None])


def kaleidoscope(c: Canvas) -> None:
    """Six mirrored wedges of stained glass that turn and breathe."""
    turning, counter = SPIRALS["kaleidoscope"]
    bearing, growth, r = c.rays.spiral(*turning)
    other, _, _ = c.rays.spiral(*counter)
    fold = (torch.remainder(bearing * 6, 1.0) - 0.5).abs() * 2  # 0..1..0 in every wedge
    fold2 = (torch.remainder(other * 6, 1.0) - 0.5).abs() * 2
    petal = _wave(growth * 2 + 0.35 * fold) + 0.8 * torch.sin(pi * fold * 2 + 2 * pi * growth)
    glass = _wave(growth + 0.5 * fold2)
    near = smoothstep(0.03, 0.22, r)
    c.image[:] = mix(c.zenith[:, :, None, None], c.middle[:, :, None, None], smoothstep(-0.6, 0.7, petal)[:, None])
    soft = (c.px[:, :, None] / r * 8).clamp(0.06, 0.6)
    c.lay(c.horizon, smoothstep(-0.5, 0.5, (glass - 0.35) / soft) * 0.8 * near)
    c.lay(c.dark, smoothstep(1.0, 0.0, (petal - 0.2).abs() / (0.14 + soft)) * 0.75 * near)
    c.lay(c.sun, smoothstep(-0.5, 0.5, (petal - 1.15) / soft) * (0.75 + 0.25 * c.treble)[:, None, None] * near)
    c.lay(c.sun, torch.exp(-((r / (0.12 + 0.12 * c.bass[:, None, None])) ** 2)))


def plasma(c: Canvas) -> None:
    """Interfering waves through a cycle of the light's colours."""
    f = c.rays.flows().unbind(1)
    v = _wave(f[0]) + _wave(f[1]) + 0.8 * _wave(f[3]) + 0.7 * _wave(f[4]) + 0.5 * _wave(f[6])
    v = v * (1 + 0.35 * c.bass)[:, None, None]
    tone = torch.stack([_wave(v * 0.22 + k / 3) * 0.5 + 0.5 for k in range(3)], 1)
    a, b, d = (k[:, :, None, None] for k in (c.middle, c.horizon, c.zenith))
    weight = tone**2
    c.image[:] = (a * weight[:, 0:1] + b * weight[:, 1:2] + d * weight[:, 2:3]) / weight.sum(1, keepdim=True).clamp(
        min=0.3
    )
    bright = smoothstep(0.80, 1.0, tone[:, 1])
    c.lay(c.sun, bright * (0.55 + 0.4 * c.treble)[:, None, None])


LOOK_PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "tunnel": tunnel, "grid": grid, "particles": particles, "liquid": liquid, "kaleidoscope": kaleidoscope,
    "plasma": plasma,
}  # fmt: skip
