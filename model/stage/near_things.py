"""The shapes that stand on the near planes: trees, towers, columns, in world units."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

from .canvas import pick
from .geometry import Plane, Rays, smoothstep
from .scene import STREET
from .vocabulary import SCENES

COLUMN_TOP, BEAM, BEAM_HALF = 1.70, 1.80, 0.115  # world units: of a temple's columns, and of the beam that they carry


def cells(u: Tensor, content: Tensor, count: int, stride: int) -> tuple[Tensor, Tensor]:
    """Which of `count` cells along the street, shuffled by content, and how far from its middle in world units."""
    cell = u / STREET * count
    i = cell.floor()
    return torch.remainder(i + content * stride, count), (cell - i - 0.5) * (STREET / count)


def pines(u: Tensor, content: Tensor) -> Tensor:
    here, off = cells(u, content, 10, 3)
    size = 0.75 + 0.9 * pick("pine", here, 32)
    a = (off - 0.24 * (pick("pine offset", here, 32) - 0.5)).abs()
    saw = 0.06 * torch.remainder(a * 14, 1.0)
    return (size - a * size * 3.4 - saw).clamp(min=0) * (pick("pine there", here, 32) > 0.15).float()


def towers(u: Tensor, content: Tensor) -> Tensor:
    here, off = cells(u, content, 12, 5)
    off = off.abs() * 12 / STREET
    size = 0.6 + 1.9 * pick("tower", here, 32) ** 1.5
    half = 0.30 + 0.17 * pick("tower width", here, 32)
    spire = 0.25 * (off < 0.03).float() * (pick("spire", here, 32) > 0.6).float()
    return (size + spire) * (off < half).float()


def cacti(u: Tensor, content: Tensor) -> Tensor:
    here, off = cells(u, content, 5, 2)
    rock = (0.42 * pick("rock", here, 16) - (off.abs() - 0.05).clamp(min=0) ** 2 * 2.6).clamp(min=0)
    trunk = 0.9 * (1 - (off / 0.075) ** 4).clamp(min=0) ** 0.25
    arm = 0.62 * (1 - ((off - 0.19) / 0.05) ** 4).clamp(min=0) ** 0.25
    return torch.where(pick("cactus", here, 16) > 0.45, torch.maximum(trunk, arm), rock)


def blades(u: Tensor, content: Tensor) -> Tensor:
    """Tall grass with flower heads."""
    here, off = cells(u, content, 40, 7)
    size = 0.16 + 0.22 * pick("blade", here, 40)
    grass = (size - (off.abs() * 2.2)).clamp(min=0.05)
    return torch.maximum(grass, 0.11 + 0.03 * torch.sin(u * 2 * pi / STREET * 9))


def weed(u: Tensor, content: Tensor) -> Tensor:
    here, off = cells(u, content, 14, 3)
    size = 0.35 + 0.95 * pick("weed", here, 32) ** 1.4
    coral = (0.36 * pick("coral", here, 16) - off**2 * 7 + 0.03 * torch.cos(off * 60)).clamp(min=0)
    frond = size * (1 - (off.abs() / 0.10) ** 2).clamp(min=0) ** 0.5
    return torch.where(pick("weed there", here, 32) > 0.5, frond, coral)


def column_offset(p: Plane) -> Tensor:
    """(n, w) world units from the middle of the nearest column."""
    return cells(p.u, p.content, 5, 2)[1]


def column_side(p: Plane, off: Tensor) -> Tensor:
    """(n, h, w) screen units outside of a column's side, below 0 within it."""
    up = p.height[:, :, None]
    flare = 0.06 * smoothstep(0.14, 0.0, up) + 0.07 * smoothstep(1.50, 1.66, up)
    half = 0.135 + flare - 0.012 * up
    return (off[:, None, :].abs() - half) / p.depth[:, :, None]


def beam_side(p: Plane) -> Tensor:
    """(n, h, 1) screen units outside of the beam, below 0 within it."""
    up = p.height[:, :, None]
    return (up - BEAM).abs() / p.depth[:, :, None] - BEAM_HALF / p.depth[:, :, None]


# Height (n, w) in world units of what stands at u (n, w) along a plane with the given content (n, 1).
SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "desert": cacti,
    "forest": pines,
    "city": towers,
    "mountains": lambda u, content: pines(u, content) * 0.45,
    "space": lambda u, content: cacti(u, content).clamp(max=0.30),
    "meadow": blades,
    "underwater": weed,
    "volcano": lambda u, content: cacti(u, content).clamp(max=0.40) * 0.9,
}


def standing(place: int, r: Rays, p: Plane) -> Tensor:
    """(n, h, w) whether a line of sight meets what stands on a plane of a place, which is a number of PLACES."""
    name = SCENES[place] if place < len(SCENES) else ""
    front = r.front(0.35)
    if name == "temple":
        up = p.height[:, :, None]
        column = (column_side(p, column_offset(p)) < 0) & (up > 0) & (up < COLUMN_TOP)
        return (column | (beam_side(p) < 0)) & (front > 0.5)[:, None, :]
    if name not in SHAPES:
        return torch.zeros(len(p.u), p.height.shape[1], p.u.shape[1], dtype=torch.bool)
    tall = SHAPES[name](p.u, p.content) * front
    return (p.height[:, :, None] < tall[:, None, :]) & (p.height[:, :, None] > 0) & (tall > 0.01)[:, None, :]
