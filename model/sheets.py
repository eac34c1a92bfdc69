"""The world's long memory: learned sheets of features, spread over its places and read along the lines of sight.

A sheet is to a place what a texture is to a surface (Thies et al. 2019, Deferred Neural Rendering): the panorama, the
planes near things stand on (coarser with distance, like the levels of a mipmap), the ground, the sky's clouds, the
light around the sun, falling drops, spirals, and the gestures of the figure at the phases of their cycle. A turn away
and back reads the same entries again. Where a line of sight meets a sheet is `stage.geometry`'s to say.
"""

from __future__ import annotations

from math import pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stage.geometry import FLOWS, MOTES, SLICES, SPIRALS, Rays, smooth
from .stage.scene import PANORAMA, ROAD, STREET, Scene
from .stage.vocabulary import FIGURES, LIGHTS, PLACES, SCENES, WEATHERS

BEATS = 16  # entries of a gesture's cycle
BEARINGS = (1, 2, 4, 8)
GROUNDED = (*SCENES, "grid")  # places with a horizon
FIGURE_ROWS, FIGURE_COLUMNS = 18, 14  # latents that a gesture covers, in the middle of the picture
TOP, BOTTOM = 1.8, -1.2  # screen units over the horizon that a panorama covers
TALLEST = 2.4  # world units that a near plane covers
LATERAL = 1.6  # world units left and right of the camera's own path
SUN_REACH = 1.6  # screen units around the sun
RAYS = 4 * len(BEARINGS) + 6 + 2 * len(FLOWS)


class _Lookup(torch.autograd.Function):
    """Weighted sums of a table's rows. PyTorch's own gradient sorts all indices, which costs more than all the rest."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.rows = table.shape[0]
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (g,) = grads
        index, weight = ctx.saved_tensors
        out = g.new_zeros(ctx.rows, g.shape[1])
        for tap in range(index.shape[1]):
            out.index_add_(0, index[:, tap], g * weight[:, tap, None])
        return out, None, None


def lookup(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """table (e, c), index and weight (m, taps) -> (m, c)"""
    return _Lookup.apply(table, index, weight)


class Sheet(nn.Module):
    """One map of features for each of some values, mixed by their weights and read bilinearly."""

    def __init__(self, values: int, rows: int, columns: int, channels: int, wrap_rows: bool = False) -> None:
        super().__init__()
        self.values, self.rows, self.columns, self.wrap_rows = values, rows, columns, wrap_rows
        self.channels = channels
        self.table = nn.Parameter(0.05 * torch.randn(values * rows * columns, channels))

    def forward(self, weights: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """weights (n, values), u and v (n, h, w) 0..1 across (wraps) and down -> (n, h, w, channels).

        Only frames that show any of the values cost anything, and only the values they show.
        """
        n, h, w = v.shape
        out = self.table.new_zeros(n, h, w, self.channels)
        shown = weights > 0.004
        count = int(shown.sum(-1).amax()) if n else 0
        if not count:  # every process of a team must find a gradient for every sheet
            return out + 0.0 * self.table[0] if torch.is_grad_enabled() else out
        which = torch.nonzero(shown.any(-1)).flatten()
        partial = len(which) < n
        if partial:
            weights, u, v = weights[which], u[which], v[which]
        weight, value = weights.topk(count, -1)
        x = u * self.columns - 0.5
        y = v * self.rows - 0.5
        if not self.wrap_rows:
            y = y.clamp(0, self.rows - 1)
        x0, y0 = x.floor(), y.floor()
        fx, fy = x - x0, y - y0
        x0, y0 = x0.long() % self.columns, y0.long()
        x1 = (x0 + 1) % self.columns
        y1 = (y0 + 1) % self.rows if self.wrap_rows else (y0 + 1).clamp(max=self.rows - 1)
        y0 = y0 % self.rows
        corners = torch.stack([y0 * self.columns + x0, y0 * self.columns + x1, y1 * self.columns + x0,
                               y1 * self.columns + x1], -1)  # fmt: skip
        part = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], -1)
        base = (value * (self.rows * self.columns))[:, None, None, :, None]
        index = (base + corners[..., None, :]).flatten(0, 2).flatten(1)
        mixed = (weight[:, None, None, :, None] * part[..., None, :]).flatten(0, 2).flatten(1)
        read = lookup(self.table, index, mixed).unflatten(0, (len(which), h, w))
        return out.index_copy(0, which, read) if partial else read


def _unit(v: Tensor, low: float, high: float) -> Tensor:
    return ((v - low) / (high - low)).clamp(0, 1)


def _waves(turns: Tensor, harmonics: tuple[int, ...]) -> Tensor:
    """(n, h, w) turns -> (n, h, w, 2 k)"""
    a = turns[..., None] * (2 * pi * torch.tensor(harmonics, dtype=turns.dtype, device=turns.device))
    return torch.cat([a.sin(), a.cos()], -1)


class Sheets(nn.Module):
    """forward(scene, rows, columns) -> (n, channels, rows, columns), channels last in memory.

    depth: channels of the panorama and the gestures; the other sheets have a fixed share of it.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        two_thirds, half, third = max(1, 2 * depth // 3), max(1, depth // 2), max(1, depth // 3)
        grounded = len(GROUNDED)
        self.panorama = Sheet(grounded, 54, 128, depth)
        self.planes = nn.ModuleList(Sheet(len(SCENES) * SLICES, 40 >> k, 128 >> k, two_thirds) for k in range(SLICES))
        self.ground = Sheet(grounded, 64, 128, two_thirds, wrap_rows=True)
        self.far_ground = Sheet(grounded, 32, 64, half, wrap_rows=True)
        self.path = Sheet(grounded, 32, 32, third, wrap_rows=True)
        self.clouds = Sheet(1, 24, 128, third)
        self.sun = Sheet(len(LIGHTS), 54, 64, half)
        self.spirals = nn.ModuleDict({k: nn.ModuleList(Sheet(1, 32, 96, half, wrap_rows=True) for _ in layers)
                                      for k, layers in SPIRALS.items()})  # fmt: skip
        self.motes = nn.ModuleDict({k: nn.ModuleList(Sheet(1, 36, 64, third, wrap_rows=True) for _ in layers)
                                    for k, layers in MOTES.items()})  # fmt: skip
        self.gestures = nn.Parameter(0.05 * torch.randn(len(FIGURES) * BEATS, FIGURE_ROWS * FIGURE_COLUMNS * depth))
        self.depth = depth
        self.channels = (
            RAYS + depth + SLICES * two_thirds + two_thirds + half + third + third + half + 2 * half + 2 * third + depth
        )

    def forward(self, s: Scene, rows: int, columns: int) -> Tensor:
        r = Rays.of(s, rows, columns)
        shape = (len(s), rows, columns)
        y, pan = r.y[:, :, None].expand(shape), r.pan[:, None, :].expand(shape)
        turn = torch.remainder(pan / PANORAMA, 1.0)
        grounded = s.place[:, [PLACES.index(p) for p in GROUNDED]]
        wx, wz, reach = r.ground()
        below = (y < 0.02).to(y.dtype)
        near = below * (1.6 / reach).clamp(max=1)[:, :, None]
        along, ahead = torch.remainder(wx / STREET, 1.0), torch.remainder(wz / ROAD, 1.0)[:, :, None].expand(shape)
        lateral = _unit(pan * reach[:, :, None], -LATERAL, LATERAL) * 0.998 + 0.001
        sun = r.sun()[:, None, :].expand(shape)
        drift = torch.remainder(turn + (s.time / 64)[:, None, None], 1.0)
        features = [
            self._rays(r, turn, sun / PANORAMA, y, near, below),
            self.panorama(grounded, turn, _unit(-y, -TOP, -BOTTOM)),
            *self._near(r, s),
            self.ground(grounded, along, ahead) * near[..., None],
            self.far_ground(grounded, along, ahead) * below[..., None],
            self.path(grounded, lateral, ahead) * near[..., None],
            self.clouds(grounded.sum(-1, keepdim=True), drift, _unit(-y, -1.35, 0)),
            self.sun(s.light, _unit(sun, -SUN_REACH, SUN_REACH) * 0.998 + 0.001, _unit(-y, -TOP, -BOTTOM)),
            *self._layers(self.spirals, {k: s.place[:, PLACES.index(k)] for k in SPIRALS},
                          lambda k, i: r.spiral(*SPIRALS[k][i])[:2]),
            *self._layers(self.motes, self._falling(s), lambda k, i: r.falling(*MOTES[k][i])),
            self._gesture(s, rows, columns),
        ]  # fmt: skip
        return torch.cat(features, -1).permute(0, 3, 1, 2)

    def _rays(self, r: Rays, turn: Tensor, sun: Tensor, y: Tensor, near: Tensor, below: Tensor) -> Tensor:
        flows = (2 * pi * r.flows()).permute(0, 2, 3, 1)
        x = r.screen_x[None, None, :].expand_as(y)
        up = r.screen_y[None, :, None].expand_as(y)
        plain = torch.stack([y, smooth(-0.1, 0.1, y), near, below, x, up], -1)
        return torch.cat([_waves(turn, BEARINGS), _waves(sun, BEARINGS), plain, flows.sin(), flows.cos()], -1)

    def _near(self, r: Rays, s: Scene) -> list[Tensor]:
        scenes = s.place[:, : len(SCENES)]
        found = []
        for p, sheet in zip(r.planes(), self.planes, strict=True):
            content = F.one_hot(p.content[:, 0].long(), SLICES).to(scenes.dtype)
            weights = (scenes[:, :, None] * content[:, None, :]).flatten(1)
            u = (p.u / STREET)[:, None, :].expand(-1, p.height.shape[1], -1)
            v = _unit(-p.height, -TALLEST, 0.1)[:, :, None].expand_as(u)
            found.append(sheet(weights, u, v) * p.seen[:, :, None, None])
        return found

    def _layers(self, kinds: nn.ModuleDict, weights: dict[str, Tensor], where: Any) -> list[Tensor]:
        """Two slots: the first and the second layer of whatever kinds are shown. `where(kind, layer)` -> u, v."""
        slots: list[Tensor | None] = [None, None]
        for kind, layers in kinds.items():
            assert isinstance(layers, nn.ModuleList)
            for i, sheet in enumerate(layers):
                read = sheet(weights[kind][:, None], *where(kind, i))
                slots[i] = read if slots[i] is None else slots[i] + read
        return [slot for slot in slots if slot is not None]

    def _falling(self, s: Scene) -> dict[str, Tensor]:
        shown = {k: s.weather[:, WEATHERS.index(k)] for k in MOTES if k in WEATHERS}
        return {**shown, "bubbles": s.place[:, PLACES.index("underwater")]}

    def _gesture(self, s: Scene, rows: int, columns: int) -> Tensor:
        """The mixed map of the gestures at the figure's phase, in the middle of the picture."""
        at = s.phase * BEATS
        low = at.floor()
        part = (at - low)[:, None]
        hat = F.one_hot(low.long() % BEATS, BEATS) * (1 - part) + F.one_hot((low.long() + 1) % BEATS, BEATS) * part
        weights = (s.figure[:, :, None] * hat[:, None, :]).flatten(1)
        count = max(1, int((weights > 1e-4).sum(-1).amax()))
        weight, index = weights.topk(count, -1)
        middle = lookup(self.gestures, index, weight)
        middle = middle.view(len(s), FIGURE_ROWS, FIGURE_COLUMNS, self.depth)
        over, side = rows - FIGURE_ROWS, columns - FIGURE_COLUMNS
        return F.pad(middle, (0, 0, side // 2, side - side // 2, over // 2, over - over // 2))
