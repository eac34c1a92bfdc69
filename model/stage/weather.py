"""What lies over every place: the air, and the colour it is graded in."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from .canvas import Canvas, mix, rgb, sample, specks
from .geometry import MOTES
from .scene import PANORAMA
from .vocabulary import MOODS, TINTS, WEATHERS

# What falls or rises, one entry a layer of geometry.MOTES: field (name, count, length, radius) and opacity.
DROPS: dict[str, tuple[tuple[tuple[str, int, int, float], float], ...]] = {
    "rain": ((("rain", 90, 26, 0.9), 0.55),),
    "snow": ((("flake", 70, 0, 2.8), 0.90), (("fleck", 120, 0, 1.8), 0.85)),
    "embers": ((("ember", 64, 0, 2.4), 1.0), (("spark", 80, 3, 1.5), 0.9)),
    "petals": ((("petal", 50, 3, 3.4), 0.95), (("petal far", 64, 2, 2.3), 0.8)),
}
TINT = {
    "plain": (0.0, rgb("808080")), "red": (0.75, rgb("ff3020")), "gold": (0.75, rgb("ffb52a")),
    "green": (0.75, rgb("2fd060")), "blue": (0.75, rgb("2f7bff")), "violet": (0.75, rgb("9a4bff")),
    "pink": (0.75, rgb("ff5fb4")), "mono": (1.0, rgb("ffffff")),
}  # fmt: skip
#            saturation, contrast, gain, vignette
GRADE = {
    "neutral": (1.0, 1.0, 1.0, 0.16), "calm": (0.85, 0.80, 1.06, 0.05), "euphoric": (1.45, 1.10, 1.14, 0.08),
    "melancholy": (0.45, 0.92, 0.82, 0.45), "menacing": (0.85, 1.35, 0.86, 0.55),
}  # fmt: skip
SHADE = {"neutral": "808080", "calm": "9a8a84", "euphoric": "86807a", "melancholy": "6a7c94", "menacing": "8c6a66"}
LUMA = torch.tensor([0.299, 0.587, 0.114])


def weather(c: Canvas) -> None:
    s = c.s
    haze = mix(c.horizon, c.middle, 0.4)
    air = torch.tensor([0.0, 0.22, 0.25, 0.80, 0.12, 0.0], device=c.dev)  # by WEATHERS
    drift = 0.85 + 0.15 * torch.sin(c.pan * 2 * pi / PANORAMA * 3 + 2 * pi * s.time[:, None] / 16)[:, None, :]
    layer = torch.exp(-(((c.y + 0.10) / 0.55) ** 2))[:, :, None] * 0.75 + 0.25
    c.lay(haze, (layer * drift * (s.weather @ air)[:, None, None]).clamp(0, 1))
    white = torch.ones_like(c.horizon)
    colours = {
        "rain": mix(c.horizon, white, 0.6), "snow": white,
        "embers": torch.tensor([1.0, 0.50, 0.10], device=c.dev).expand_as(white),
        "petals": torch.tensor([1.0, 0.62, 0.74], device=c.dev) * (0.45 + 0.55 * c.sun),
    }  # fmt: skip
    for name, layers in DROPS.items():
        amount = s.weather[:, WEATHERS.index(name)]
        if float(amount.max()) < 0.01:
            continue
        for ((field, count, length, radius), opacity), move in zip(layers, MOTES[name], strict=True):
            tile = specks(str(c.dev), field, count, 288, 512, length, radius)
            light = sample(tile, *c.rays.falling(*move)) * (amount * opacity)[:, None, None]
            if name == "embers":  # they glow: a hot core, a wide halo
                c.glow(colours[name], light * (0.9 + 0.5 * c.treble)[:, None, None])
                c.lay(white * torch.tensor([1.0, 0.9, 0.6], device=c.dev), light**2 * 0.9)
            else:
                c.lay(colours[name], light)


def grade(c: Canvas) -> None:
    """Tint, mood, vignette, and the sound's flash."""
    s = c.s
    amount = torch.tensor([TINT[k][0] for k in TINTS], device=c.dev)
    colour = torch.cat([TINT[k][1] for k in TINTS]).to(c.dev)
    a = (s.tint @ amount)[:, None, None, None]
    luma = LUMA.to(c.dev)[:, None, None]
    if float(a.max()) > 0.01:
        tone = (s.tint * amount) @ colour / (s.tint @ amount).clamp(min=1e-4)[:, None]
        grey = (c.image * luma).sum(1, keepdim=True)
        dyed = grey * tone[:, :, None, None] * 1.35 + (grey - 0.72).clamp(min=0) * 1.6
        c.image += (dyed - c.image) * a
    looks = s.mood @ torch.tensor([GRADE[k] for k in MOODS], device=c.dev)
    saturation, contrast, gain, vignette = (v[:, None, None, None] for v in looks.unbind(-1))
    if float(s.mood[:, 0].min()) < 0.99:
        grey = (c.image * luma).sum(1, keepdim=True)
        c.image = grey + (c.image - grey) * saturation
        shade: Tensor = s.mood @ rgb(*(SHADE[k] for k in MOODS)).to(c.dev) * 2
        c.image = ((c.image - 0.30) * contrast + 0.30) * gain * shade[:, :, None, None]
    rim = (c.rays.screen_x[None, :] / (16 / 9)) ** 2 + c.rays.screen_y[:, None] ** 2
    c.image = c.image * (1 - vignette * rim.clamp(max=1.6)) * (1 + 0.14 * c.level)[:, None, None, None]
    c.image = c.image + (0.22 * c.onset)[:, None, None, None] * (1 - c.image.clamp(0, 1))
