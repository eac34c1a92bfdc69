"""The ten scenes: places with a sky, a horizon and a ground."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

from .canvas import Canvas, clouds, mix, pick, ridge, sample, specks
from .geometry import CAMERA_HEIGHT, MOTES, smoothstep, wrap
from .near_things import COLUMN_TOP, SHAPES, beam_side, cells, column_offset, column_side, towers
from .scene import PANORAMA, ROAD, STREET
from .vocabulary import LIGHTS

PEAKS = (2, 3, 5, 8, 13, 21, 34)


def sky(c: Canvas, stars: Tensor, cloud: Tensor) -> None:
    """Gradient, stars, aurora, sun or moon, clouds, lightning. stars, cloud: (n,) how much of them."""
    s = c.s
    t = c.y.clamp(-0.05, 1.4)[:, None, :]  # (n, 1, h)
    low = mix(c.horizon[:, :, None], c.middle[:, :, None], smoothstep(0.0, 0.45, t))
    c.image[:] = mix(low, c.zenith[:, :, None], smoothstep(0.3, 1.3, t))[..., None]
    night = c.weight(s.light, LIGHTS, "night", "aurora")
    stars = stars * (0.35 + 0.65 * night)
    if float(stars.max()) > 0.01:
        field = specks(str(c.dev), "stars", 420, 288, 1024, 0, 1.0)
        u = torch.remainder(c.pan / PANORAMA, 1)[:, None, :].expand(-1, c.h, -1)
        v = torch.remainder(c.y / 2, 1)[:, :, None].expand_as(u)
        shine = (1.0 + 0.8 * c.treble) * stars
        c.glow(
            torch.ones_like(c.sun), sample(field, u, v) * shine[:, None, None] * smoothstep(0.0, 0.3, c.y)[:, :, None]
        )
    aurora = c.weight(s.light, LIGHTS, "aurora")
    if float(aurora.max()) > 0.01:
        _curtains(c, aurora)
    _sun(c)
    if float(cloud.max()) > 0.01:
        u = torch.remainder((c.pan + s.time[:, None] * (PANORAMA / 64)) / PANORAMA, 1)[:, None, :].expand(-1, c.h, -1)
        v = (c.y / 1.35).clamp(0.01, 0.98)[:, :, None].expand_as(u)
        d = sample(clouds(str(c.dev)), u, v) * cloud[:, None, None] * smoothstep(0.02, 0.35, c.y)[:, :, None]
        storm = c.weight(s.light, LIGHTS, "storm")[:, None]
        lit = mix(mix(c.sun, c.horizon, 0.45), c.middle, 0.55 * night[:, None])
        c.lay(mix(lit, c.zenith * 0.55, storm * 0.8), d * 0.85)
    flash = c.weight(s.light, LIGHTS, "storm") * torch.exp(-torch.remainder(s.time, 4.0) * 7) * 0.55
    c.image += flash[:, None, None, None] * (1 - c.image)


def _curtains(c: Canvas, amount: Tensor) -> None:
    """Northern lights: two bands with hanging rays."""
    turn = c.pan * (2 * pi / PANORAMA)
    t = (c.s.time * (2 * pi / 16))[:, None]
    y = c.y[:, :, None]
    for base, k, hue in ((0.42, 3, 0.0), (0.72, 2, 0.75)):
        foot = base + 0.13 * torch.sin(k * turn + t) + 0.05 * torch.sin((2 * k + 1) * turn - 2 * t)
        rays = 0.62 + 0.38 * torch.sin(31 * turn + 2.5 * torch.sin(4 * turn + t))
        up = y - foot[:, None, :]
        light = smoothstep(-0.05, 0.04, up) * torch.exp(-up.clamp(min=0) * 2.6) * rays[:, None, :]
        tone = mix(torch.tensor([0.15, 1.0, 0.60], device=c.dev), torch.tensor([0.55, 0.25, 0.95], device=c.dev), hue)
        shine = (amount * (0.75 + 0.5 * c.treble))[:, None, None]
        c.glow(tone.expand(len(c.s), 3), light * shine * 0.75)


def _sun(c: Canvas) -> None:
    """Sun or moon: high at noon, on the horizon at dawn and sunset, striped in neon."""
    #                      dawn  noon  sunset night neon  storm aurora
    power = torch.tensor([0.9, 1.0, 1.0, 0.85, 1.0, 0.0, 0.6], device=c.dev)
    spread = torch.tensor([0.55, 0.45, 0.75, 0.30, 0.65, 0.5, 0.2], device=c.dev)
    p0, sp = ((c.s.light @ v)[:, None, None] for v in (power, spread))
    dx, dy, r0, pulse = c.rays.disc()
    dx, dy, r0, pulse = dx[:, None, :], dy[:, :, None], r0[:, None, None], pulse[:, None, None]
    r = torch.hypot(dx, dy)
    disc = c.edge(r - r0 * pulse) * p0
    c.lay(c.sun, torch.exp(-((r / (sp * pulse)) ** 2) * 2.2) * 0.55 * p0)
    neon = c.weight(c.s.light, LIGHTS, "neon")[:, None, None]
    bands = smoothstep(-0.35, -0.05, torch.sin((dy / r0 - 0.4) ** 2 * 16 * torch.sign(0.4 - dy / r0)))
    disc = disc * (1 - neon * (1 - bands) * (dy < 0.35 * r0).float())
    c.lay(mix(c.sun, c.horizon, neon[:, :, 0] * 0.35), disc)


def skyline(c: Canvas, name: str, base: float, tall: float, depth: float, rough: float, snow: bool = False) -> Tensor:
    """Far hills at infinity; `depth` 0 is as hazy as the sky, 1 is dark. Returns their height (n, w)."""
    crest = ridge(c.pan, PANORAMA, name, PEAKS, rough)
    top = base + tall * (0.5 + 0.5 * crest)
    body = c.below(top)
    c.lay(mix(c.horizon, c.dark, depth), body)
    if snow:
        slope = ridge(c.pan + 0.15, PANORAMA, name, PEAKS, rough) - crest
        lit = smoothstep(-0.06, 0.06, slope)
        c.lay(c.horizon, body * (lit * 0.22)[:, None, :])
        cap = body * (1 - c.below(base + tall * 0.72 + 0.06 * torch.sin(c.pan * 18 * pi / PANORAMA * 4)))
        c.lay(mix(c.horizon, c.sun, 0.7), cap * (0.45 + 0.5 * lit)[:, None, :])
    return top


def ground(c: Canvas, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A plane to the horizon; returns world x and z (n, h, w), how far ahead (n, h, 1), and its texture's mask."""
    wx, wz, reach = c.rays.ground()
    mask = c.below(torch.zeros_like(c.pan))
    t = smoothstep(0.0, 0.75, -c.y)[:, None, :, None]
    c.lay(mix(far[:, :, None, None], near[:, :, None, None], t).expand(-1, -1, -1, c.w), mask)
    return wx, wz[:, :, None].expand_as(wx), reach[:, :, None], mask * c.rays.front(0.7)[:, None, :]


def fading(reach: Tensor, start: float) -> Tensor:
    """Texture strength by distance: finer than a pixel would shimmer."""
    return (start / reach).clamp(max=1)


def stand(c: Canvas, shape: Callable[[Tensor, Tensor], Tensor], haze: float = 0.75,
          tone: Tensor | None = None) -> None:  # fmt: skip
    """Things on the near planes: shape(u, content) -> height (n, w) in world units."""
    for p in reversed(c.rays.planes()):
        # Nothing stands across the seam straight behind the camera.
        tall = shape(p.u, p.content) * c.rays.front(0.35)
        far = (1 - 1 / p.depth).clamp(min=0) ** 1.5 * haze
        body = c.below((tall - CAMERA_HEIGHT) / p.depth) * (1 - c.below((-CAMERA_HEIGHT / p.depth).expand_as(tall)))
        mask = body * (tall > 0.01)[:, None, :] * p.seen[:, :, None]
        c.lay(mix(c.dark if tone is None else tone, mix(c.middle, c.horizon, 0.6), far), mask)


def sea(c: Canvas) -> None:
    sky(c, c.weight(c.s.light, LIGHTS, "night", "neon", "aurora"), 0.75 * torch.ones_like(c.s.time))
    skyline(c, "isle", -0.03, 0.10, 0.35, 0.8)
    deep = mix(c.zenith, c.dark, 0.35)
    wx, wz, reach, mask = ground(c, deep, mix(c.middle, c.horizon, 0.35))
    t = c.s.time[:, None, None] * (2 * pi / 4)
    k = 2 * pi / ROAD
    swell = torch.sin(wz * k * 3 + 0.8 * torch.sin(wx * (2 * pi / STREET) * 2) + t)
    chop = torch.sin(wz * k * 7 - wx * (2 * pi / STREET) * 3 + t * 2)
    crest = smoothstep(0.35, 1.25, 0.7 * swell + 0.5 * chop)
    c.lay(mix(c.horizon, c.sun, 0.3), crest * mask * fading(reach, 1.6) * 0.5)
    down = (-c.y).clamp(0, 1)[:, :, None]
    path = torch.exp(-((c.rays.sun()[:, None, :] / (0.10 + 0.45 * down)) ** 2))
    glint = smoothstep(-0.5, 0.9, torch.sin(c.rays.glitter()[:, :, None] * (2 * pi) + swell))
    dim = (1 - 0.8 * c.weight(c.s.light, LIGHTS, "storm")) * (1 + 0.3 * c.bass)
    c.lay(c.sun, (path * glint * mask * 0.75 * dim[:, None, None]).clamp(max=1))


def desert(c: Canvas) -> None:
    sky(c, c.weight(c.s.light, LIGHTS, "night", "aurora"), 0.25 * torch.ones_like(c.s.time))
    bright = 0.35 + 0.65 * c.horizon.mean(-1, keepdim=True)
    sand = mix(c.horizon, torch.tensor([0.93, 0.62, 0.32], device=c.dev), 0.55) * bright
    for name, base, tall, shade in (("dune a", 0.02, 0.22, 0.25), ("dune b", -0.05, 0.18, 0.5)):
        crest = ridge(c.pan, PANORAMA, name, (2, 3, 5), 0.5)
        body = c.below(base + tall * (0.5 + 0.5 * (1 - crest.abs() * 1.1)))
        c.lay(mix(sand, c.dark, shade), body)
        lit = smoothstep(-0.1, 0.3, torch.sin(c.pan * (2 * pi / PANORAMA) * 5 + 2))
        c.lay(mix(sand, c.sun, 0.25), body * lit[:, None, :] * (0.8 - shade))
    wx, wz, reach, mask = ground(c, mix(sand, c.dark, 0.35), sand)
    ripple = torch.sin(wz * (2 * pi / ROAD) * 6 + 1.2 * torch.sin(wx * (2 * pi / STREET) * 2))
    c.lay(c.dark, smoothstep(0.2, 1.0, ripple) * mask * fading(reach, 1.5) * 0.30)
    stand(c, SHAPES["desert"])


def forest(c: Canvas) -> None:
    sky(c, c.weight(c.s.light, LIGHTS, "night", "aurora"), 0.4 * torch.ones_like(c.s.time))
    skyline(c, "hill", 0.05, 0.30, 0.30, 0.9)
    green = torch.tensor([0.16, 0.36, 0.20], device=c.dev) * (0.25 + 0.9 * c.middle.mean(-1, keepdim=True))
    leaf = mix(c.dark, green, 0.55)
    crest = ridge(c.pan, PANORAMA, "wood", (3, 5, 8), 0.5) * 0.06 + 0.10
    c.lay(mix(c.middle, leaf, 0.5), c.below(crest + 0.05 * torch.remainder(c.pan * 60 / PANORAMA, 1.0)))
    _, wz, reach, mask = ground(c, leaf * 0.9, mix(leaf, c.horizon, 0.25))
    bend = c.pan[:, None, :] * reach + 0.25 * torch.sin(wz * 2 * pi / ROAD)
    c.lay(mix(c.horizon, c.ground, 0.6), torch.exp(-((bend / 0.45) ** 4)) * mask * 0.55)
    stand(c, SHAPES["forest"], 0.7, leaf)


def _windows(c: Canvas) -> None:
    """Lit windows on every tower plane."""
    lit = 0.25 + 0.75 * (1 - c.weight(c.s.light, LIGHTS, "noon"))
    for p in reversed(c.rays.planes()):
        tall = towers(p.u, p.content) * c.rays.front(0.35)
        up = p.height[:, :, None]
        fx, fy = torch.remainder(p.u * 9, 1.0)[:, None, :], torch.remainder(up * 7, 1.0)
        which = (p.u * 9).floor()[:, None, :] * 7 + (up * 7).floor() * 13 + p.content[:, :, None] * 5
        on = (pick("window", which, 64) > 0.5) & (up > 0.12) & (up < tall[:, None, :] - 0.05)
        soft = 7 * c.px[:, :, None] * p.depth[:, :, None]
        pane = smoothstep(0.0, 1.0, (0.29 - (fx - 0.5).abs()) / soft + 0.5) * smoothstep(
            0.0, 1.0, (0.27 - (fy - 0.5).abs()) / soft + 0.5
        )
        crisp = (1.6 / p.depth).clamp(0, 1) * p.seen * (lit * (0.8 + 0.5 * c.treble))[:, None]
        c.lay(mix(c.sun, mix(c.horizon, c.sun, 0.3), 0.6), (pane * on * crisp[:, :, None]).clamp(0, 1))


def city(c: Canvas) -> None:
    sky(c, c.weight(c.s.light, LIGHTS, "night") * 0.5, 0.3 * torch.ones_like(c.s.time))
    cell = torch.remainder(c.pan, PANORAMA) / PANORAMA * 44
    c.lay(mix(c.middle, c.dark, 0.45), c.below(0.06 + 0.34 * pick("block", cell.floor(), 44) ** 1.6))
    _, wz, reach, mask = ground(c, c.dark, mix(c.dark, c.horizon, 0.35))
    # Wet street: the sky's light comes back in long stripes.
    turn = c.pan * (2 * pi / PANORAMA)
    stripe = smoothstep(0.2, 1.0, torch.sin(turn * 22 + 2 * torch.sin(turn * 5)))
    c.lay(c.horizon, stripe[:, None, :] * mask * smoothstep(0.75, 0.0, -c.y)[:, :, None] * 0.28)
    lane = torch.exp(-((c.pan[:, None, :] * reach / 0.05) ** 2))
    c.lay(c.sun, lane * smoothstep(-0.1, 0.1, torch.sin(wz * 2 * pi / ROAD * 4)) * mask * 0.8)
    stand(c, SHAPES["city"], 0.65)
    _windows(c)


def mountains(c: Canvas) -> None:
    sky(c, c.weight(c.s.light, LIGHTS, "night", "aurora"), 0.55 * torch.ones_like(c.s.time))
    peak = skyline(c, "peak far", 0.02, 0.95, 0.30, 1.05, snow=True)
    skyline(c, "peak near", -0.06, 0.55, 0.62, 1.0, snow=True)
    _, _, _, mask = ground(c, mix(c.zenith, c.dark, 0.4), mix(c.middle, c.horizon, 0.25))
    y = (-c.y)[:, :, None] + 0.012 * torch.sin(c.y[:, :, None] * 120 + c.s.time[:, None, None] * 2 * pi / 4)
    c.lay(mix(c.middle, c.dark, 0.6), ((0.5 * peak[:, None, :] - y) * 40).clamp(0, 1) * mask * 0.6)
    stand(c, SHAPES["mountains"], 0.6)


def space(c: Canvas) -> None:
    s = c.s
    old = c.zenith, c.middle, c.horizon
    c.zenith, c.middle, c.horizon = c.zenith * 0.18, c.zenith * 0.32, c.middle * 0.5
    sky(c, 2 * torch.ones_like(s.time), torch.zeros_like(s.time))
    c.zenith, c.middle, c.horizon = old
    u = torch.remainder(c.pan / PANORAMA, 1)[:, None, :].expand(-1, c.h, -1)
    v = ((c.y + 1.2) / 2.6).clamp(0.01, 0.98)[:, :, None].expand_as(u)
    c.lay(mix(c.middle, c.horizon, 0.5), sample(clouds(str(c.dev)), u, v) * 0.55)
    for px, py, pr, ring in ((-1.9, 0.62, 0.42, True), (1.3, 0.45, 0.16, False), (3.2, 0.75, 0.28, False)):
        dx, dy = wrap(c.pan - px, PANORAMA)[:, None, :], c.y[:, :, None] - py
        disc = c.edge(torch.hypot(dx, dy) - pr)
        light = smoothstep(-0.9, 1.0, (dx * 0.7 + dy * 0.7) / pr)
        band = 0.5 + 0.5 * torch.sin(dy / pr * 9 + torch.sin(dx / pr * 3))
        stripes = mix(c.horizon[:, :, None, None], c.middle[:, :, None, None], band[:, None])
        c.lay(mix(c.dark[:, :, None, None], stripes, light[:, None]), disc)
        if ring:
            e = torch.hypot(dx, dy * 3.6 + dx * 0.9)
            line = torch.exp(-(((e - pr * 1.75) / (pr * 0.22)) ** 2)) * (1 - disc * (dy + dx * 0.25 > 0).float())
            c.lay(c.sun, line * 0.75)
    # A moon's ground to stand on.
    wx, wz, reach, mask = ground(c, mix(c.dark, c.ground, 0.5), mix(c.ground, c.horizon, 0.45))
    pits = torch.sin(wz * 2 * pi / ROAD * 3) * torch.sin(wx * 2 * pi / STREET * 5)
    c.lay(c.dark, smoothstep(0.35, 0.9, pits) * mask * fading(reach, 1.6) * 0.55)
    stand(c, SHAPES["space"], 0.5)


def meadow(c: Canvas) -> None:
    s = c.s
    sky(c, c.weight(s.light, LIGHTS, "night", "aurora"), 0.6 * torch.ones_like(s.time))
    lush = torch.tensor([0.42, 0.62, 0.18], device=c.dev) * (0.22 + 0.95 * c.middle.mean(-1, keepdim=True))
    lush = mix(lush, c.ground, 0.25)
    skyline(c, "down far", 0.00, 0.26, 0.30, 1.6)
    crest = ridge(c.pan, PANORAMA, "down near", (1, 2, 3), 0.8)
    hill = -0.03 + 0.13 * (0.5 + 0.5 * crest)
    c.lay(mix(lush, c.horizon, 0.30), c.below(hill))
    crowns = (0.10 * pick("oak", torch.remainder(c.pan * 30 / PANORAMA, 30).floor(), 30) - 0.02).clamp(min=0)
    round_ = (1 - ((torch.remainder(c.pan * 30 / PANORAMA, 1.0) - 0.5) * 2.2) ** 2).clamp(min=0).sqrt()
    c.lay(mix(lush * 0.5, c.dark, 0.4), c.below(hill + crowns * round_))
    wx, wz, reach, mask = ground(c, mix(lush, c.dark, 0.30), mix(lush, c.horizon, 0.18))
    wind = torch.sin(wx * 2 * pi / STREET * 3 + wz * 2 * pi / ROAD * 2 + s.time[:, None, None] * 2 * pi / 4)
    c.lay(mix(lush, c.sun, 0.35), smoothstep(0.0, 1.0, wind) * mask * fading(reach, 1.6) * 0.35)
    stand(c, SHAPES["meadow"], 0.55, mix(lush * 0.55, c.dark, 0.25))
    blossom = torch.stack(
        [mix(c.sun, torch.tensor(v, device=c.dev), 0.6) for v in ((1.0, 0.25, 0.35), (1.0, 0.8, 0.2))]
    )
    for p in reversed(c.rays.planes()):
        for tone, (count, stride) in zip(blossom, ((28, 5), (20, 3)), strict=True):
            here, off = cells(p.u, p.content, count, stride)
            tall = (0.20 + 0.24 * pick("stalk", here, 28))[:, None, :]
            r = torch.hypot(off[:, None, :], p.height[:, :, None] - tall) / p.depth[:, :, None]
            there = (pick("bloom", here, 28) > 0.35).float() * c.rays.front(0.35)
            shine = p.seen * (1.7 / p.depth).clamp(max=1)
            c.lay(tone, c.edge(r - 0.045 / p.depth[:, :, None]) * (there * shine)[:, None, :])


def temple(c: Canvas) -> None:
    """Columns left and right of a polished floor, under an open sky."""
    s = c.s
    sky(c, c.weight(s.light, LIGHTS, "night", "aurora"), 0.35 * torch.ones_like(s.time))
    stone = mix(c.horizon, torch.tensor([0.86, 0.80, 0.70], device=c.dev), 0.5)
    stone = stone * (0.30 + 0.70 * c.horizon.mean(-1, keepdim=True))
    skyline(c, "hill", -0.02, 0.16, 0.25, 0.9)
    steps = torch.remainder(c.pan, PANORAMA) / PANORAMA * 6
    off = (steps - steps.floor() - 0.5).abs()
    far = torch.where(off < 0.30, 0.42 - 0.75 * off, torch.zeros_like(off)) * (off < 0.33).float()
    c.lay(mix(c.middle, mix(stone, c.dark, 0.45), 0.7), c.below(far))
    wx, wz, reach, mask = ground(c, mix(stone, c.dark, 0.55), mix(stone, c.horizon, 0.35))
    tile = torch.sign(torch.sin(wx * 2 * pi / STREET * 6) * torch.sin(wz * 2 * pi / ROAD * 3))
    soft = smoothstep(0.02, 0.25, (torch.sin(wx * 2 * pi / STREET * 6) * torch.sin(wz * 2 * pi / ROAD * 3)).abs())
    c.lay(c.dark, (0.5 + 0.5 * tile * soft) * mask * fading(reach, 2.2) * 0.38)
    shine = torch.exp(-((c.rays.sun()[:, None, :] / 0.35) ** 2)) * smoothstep(0.0, 0.5, -c.y)[:, :, None]
    c.lay(c.sun, shine * mask * 0.35 * (1 - c.weight(s.light, LIGHTS, "storm"))[:, None, None])
    for p in reversed(c.rays.planes()):
        up, off = p.height[:, :, None], column_offset(p)
        column = (
            c.edge(column_side(p, off)) * smoothstep(-0.01, 0.01, up) * smoothstep(COLUMN_TOP, COLUMN_TOP - 0.02, up)
        )
        beam = c.edge(beam_side(p)).expand_as(column)
        front = (c.rays.front(0.35) * p.seen)[:, None, :]
        haze = ((1 - 1 / p.depth).clamp(min=0) ** 1.5 * 0.65)[:, :, None, None]
        flute = 0.5 + 0.5 * torch.cos(off * 2 * pi * 14)
        across = (0.55 - 2.3 * off * torch.sign(c.rays.sun() + 1e-4)).clamp(0.05, 1)
        shade = (0.35 + 0.65 * across) * (0.80 + 0.20 * flute)
        lit = mix(mix(c.dark, stone, 0.15), stone, 0.9)[:, :, None, None] * shade[:, None, None, :]
        air = mix(c.middle, c.horizon, 0.6)[:, :, None, None]
        c.lay(mix(lit, air, haze), torch.maximum(column, beam) * front)


def underwater(c: Canvas) -> None:
    s = c.s
    t = s.time[:, None, None] * (2 * pi / 4)
    deep = mix(torch.tensor([0.01, 0.10, 0.20], device=c.dev).expand_as(c.zenith), c.zenith, 0.35)
    top = mix(torch.tensor([0.15, 0.65, 0.72], device=c.dev).expand_as(c.zenith), c.horizon, 0.45)
    up = smoothstep(-0.9, 1.35, c.y)[:, None, :, None]
    lit = top * (0.45 + 0.55 * c.sun.mean(-1, keepdim=True))
    c.image[:] = mix(deep[:, :, None, None], lit[:, :, None, None], up * up)
    turn = c.rays.sun() * (2 * pi / PANORAMA)
    slant = turn[:, None, :] + 0.16 * (c.y - 1.2)[:, :, None] * turn.sin()[:, None, :]  # whole turns, so no seam
    beams = torch.sin(slant * 9 + 1.2 * torch.sin(slant * 4 + t / 4)) + torch.sin(slant * 23 - t / 2)
    c.glow(
        top,
        smoothstep(0.2, 1.9, beams) * smoothstep(-0.5, 1.2, c.y)[:, :, None] * (0.35 + 0.25 * c.bass)[:, None, None],
    )
    skyline_y = -0.04 + 0.22 * (0.5 + 0.5 * ridge(c.pan, PANORAMA, "reef", (2, 3, 5, 8), 0.7))
    c.lay(mix(deep, top, 0.30), c.below(skyline_y))
    sand = mix(deep, top, 0.5)
    wx, wz, reach, mask = ground(c, mix(sand, c.sun, 0.16), mix(deep, top, 0.32))
    k = 2 * pi / STREET
    net = torch.sin(wx * k * 5 + 1.4 * torch.sin(wz * 2 * pi / ROAD * 3 + t)) + torch.sin(
        wz * 2 * pi / ROAD * 5 + 1.4 * torch.sin(wx * k * 4 - t)
    )
    web = smoothstep(0.75, 0.0, net.abs())
    c.lay(mix(top, c.sun, 0.6), web * mask * fading(reach, 1.5) * (0.42 + 0.2 * c.treble)[:, None, None])

    stand(c, SHAPES["underwater"], 0.9, mix(deep * 0.5, c.dark, 0.4))
    field = specks(str(c.dev), "bubble", 70, 288, 512, 0, 2.0)
    c.lay(mix(top, c.sun, 0.6), sample(field, *c.rays.falling(*MOTES["bubbles"][0])) * 0.5)


def volcano(c: Canvas) -> None:
    s = c.s
    sky(c, 0.5 * c.weight(s.light, LIGHTS, "night", "aurora"), 0.9 * torch.ones_like(s.time))
    smoke = torch.tensor([0.10, 0.07, 0.08], device=c.dev)
    c.image[:] = mix(c.image, smoke[:, None, None], 0.30)
    hot = torch.tensor([1.0, 0.33, 0.06], device=c.dev).expand_as(c.sun)
    white = torch.tensor([1.0, 0.86, 0.45], device=c.dev).expand_as(c.sun)
    rock = mix(torch.tensor([0.10, 0.07, 0.08], device=c.dev).expand_as(c.dark), c.dark, 0.5)
    skyline(c, "crag", -0.02, 0.34, 0.72, 0.75)
    t = s.time[:, None, None] * (2 * pi / 4)
    glow = (0.75 + 0.35 * c.bass)[:, None, None]
    for at in (-0.9, 2.6):
        off = wrap(c.pan - at, PANORAMA)
        cone = (0.86 - 0.92 * off.abs() + 0.02 * torch.sin(off * 40)).clamp(max=0.66)
        dx, y = off[:, None, :], c.y[:, :, None]
        plume = torch.exp(-(((dx - 0.12 * torch.sin(y * 5 - t)) / (0.10 + 0.30 * (y - 0.6).clamp(min=0))) ** 2))
        c.glow(hot, plume * smoothstep(0.55, 0.75, y) * torch.exp(-(y - 0.6).clamp(min=0) * 2.2) * glow)
        c.lay(mix(rock, c.middle, 0.18), c.below(cone))
        stream = dx - 0.10 * torch.sin(y * 9 + at) * smoothstep(0.7, 0.0, y)
        lava = torch.exp(-((stream / (0.030 + 0.05 * (0.66 - y).clamp(0, 1))) ** 2)) * c.below(cone)
        c.lay(mix(hot, white, 0.35), lava * smoothstep(-0.1, 0.1, y) * glow.clamp(max=1))
    wx, wz, reach, mask = ground(c, rock, mix(rock, hot, 0.16))
    k = 2 * pi / STREET
    crack = torch.sin(wx * k * 4 + 1.6 * torch.sin(wz * 2 * pi / ROAD * 2)) * torch.sin(
        wz * 2 * pi / ROAD * 3 + 1.3 * torch.sin(wx * k * 3)
    )
    pulse = 0.75 + 0.25 * torch.sin(t + wz * 2 * pi / ROAD)
    seam = smoothstep(0.30, 0.0, crack.abs()) * mask * fading(reach, 2.0)
    c.lay(hot, (seam * pulse * 0.85 * glow).clamp(max=1))
    c.lay(white, (smoothstep(0.10, 0.0, crack.abs()) * mask * fading(reach, 1.4) * pulse * 0.8 * glow).clamp(max=1))
    stand(c, SHAPES["volcano"], 0.35, rock * 0.6)


SCENE_PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "sea": sea, "desert": desert, "forest": forest, "city": city, "mountains": mountains, "space": space,
    "meadow": meadow, "temple": temple, "underwater": underwater, "volcano": volcano,
}  # fmt: skip
