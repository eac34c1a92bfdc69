"""The world's long memory: learned textures, spread over its places and read along the lines of sight.

A sheet is to a place what a texture is to a surface (Thies et al. 2019, Deferred Neural Rendering): the panorama, the
planes near things stand on (coarser with distance), the ground, the sky's clouds, the
light around the sun, falling drops, spirals, and the gestures of the figure at the phases of their cycle. They are read
TAPS times finer than a latent, because a latent says nothing of what happens inside it, and the near planes cover what
is behind them at that grain. A turn away and back reads the same entries again. Where a line of sight meets a sheet is
`stage.geometry`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stage.geometry import FLOWS, MOTES, SLICES, SPIRALS, SWELLS, Rays, smooth
from .stage.scene import PANORAMA, ROAD, STREET, Scene
from .stage.vocabulary import FIGURES, LIGHTS, LOOKS, PLACES, SCENES, WEATHERS

TAPS = 4  # readings across a latent
BEATS = 32  # entries of a gesture's cycle
HARMONICS = (1, 2, 4, 8)
BEARINGS = 4 * len(HARMONICS)
GROUNDED = (*SCENES, "grid")  # places with a horizon
FIGURE_ROWS, FIGURE_COLUMNS = 18, 14  # latents that a gesture covers, in the middle of the picture
TOP, BOTTOM = 1.8, -1.2  # screen units over the horizon that a panorama covers
TALLEST = 2.4  # world units that a near plane covers
LATERAL = 1.6  # world units left and right of the camera's own path
SUN_REACH = 1.6  # screen units around the sun
RAYS = 7 + 2 * len(FLOWS) + 2 * len(SWELLS)
SHOWN = 0.004  # a value with less weight is not read


class Sheet(nn.Module):
    """One texture for each of some values, mixed by their weights and read bilinearly.

    covers: the last of `channels` is how opaque the sheet is there, and the others come multiplied by it.
    """

    def __init__(self, values: int, rows: int, columns: int, channels: int, wrap_rows: bool = False,
                 covers: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.wrap_rows, self.covers, self.channels = wrap_rows, covers, channels
        self.table = nn.Parameter(0.05 * torch.randn(values, channels, rows, columns))
        if covers:
            nn.init.constant_(self.table[:, -1], -2.0)

    def forward(self, weights: Tensor, u: Tensor, v: Tensor, level: int = 0) -> Tensor:
        """weights (n, values), u and v (n, h, w) 0..1 across (wraps) and down -> (n, channels, h, w).

        level: read from 2**level times coarser texels, for what is far away (mipmaps, Williams 1983). Only frames that
        show any of the values cost anything, and only the values they show.
        """
        n, h, w = v.shape
        out = self.table.new_zeros(n, self.channels, h, w)
        frame, value = torch.nonzero(weights > SHOWN, as_tuple=True)
        if not len(frame):  # every process of a team must find a gradient for every sheet
            return out + 0.0 * self.table[0, 0, 0, 0] if torch.is_grad_enabled() else out
        texture = self.table[value]
        if level:
            texture = F.avg_pool2d(texture, 2**level)
        rows, columns = texture.shape[2:]
        texture = torch.cat([texture[..., -1:], texture, texture[..., :1]], -1)
        x = (u[frame] * columns + 1) * (2 / (columns + 2)) - 1
        y = v[frame] * 2 - 1
        if self.wrap_rows:
            texture = torch.cat([texture[..., -1:, :], texture, texture[..., :1, :]], -2)
            y = (v[frame] * rows + 1) * (2 / (rows + 2)) - 1
        read = F.grid_sample(texture, torch.stack([x, y], -1), padding_mode="border", align_corners=False)
        if self.covers:
            opaque = read[:, -1:].sigmoid()
            read = torch.cat([read[:, :-1] * opaque, opaque], 1)
        read = read * weights[frame, value][:, None, None, None]
        return read if len(frame) == n == len(frame.unique()) else out.index_add(0, frame, read)


def _unit(v: Tensor, low: float, high: float) -> Tensor:
    return ((v - low) / (high - low)).clamp(0, 1)


def bearings(s: Scene, rows: int, columns: int) -> Tensor:
    """(n, BEARINGS, rows, columns): where each column of latents looks, from a fixed bearing and from the sun's."""
    r = Rays.of(s, rows, columns)
    turns = torch.stack([r.pan, r.sun()], 1)[:, :, None] * (2 * pi / PANORAMA)
    a = (turns * torch.tensor(HARMONICS, dtype=turns.dtype, device=turns.device)[:, None]).flatten(1, 2)
    return torch.cat([a.sin(), a.cos()], 1)[:, :, None].expand(-1, -1, rows, -1)


class Sheets(nn.Module):
    """forward(scene, rows, columns) -> (n, channels, TAPS * rows, TAPS * columns).

    depth: numbers of a texel; the panorama and the spirals have two more, the near planes an opacity.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        grounded = len(GROUNDED)
        self.panorama = Sheet(grounded, 108, 256, depth + 2)
        self.planes = Sheet(len(SCENES) * SLICES, 80, 256, depth + 1, covers=True)
        self.ground = Sheet(grounded, 128, 256, depth, wrap_rows=True)
        self.far_ground = Sheet(grounded, 32, 64, depth, wrap_rows=True)
        self.path = Sheet(grounded, 64, 96, depth, wrap_rows=True)
        self.clouds = Sheet(1, 48, 256, depth)
        self.sun = Sheet(len(LIGHTS), 108, 116, depth)
        self.spirals = nn.ModuleDict({k: nn.ModuleList(Sheet(1, 64, 192, depth + 2, wrap_rows=True) for _ in layers)
                                      for k, layers in SPIRALS.items()})  # fmt: skip
        self.motes = nn.ModuleDict({k: nn.ModuleList(Sheet(1, 72, 128, depth, wrap_rows=True) for _ in layers)
                                    for k, layers in MOTES.items()})  # fmt: skip
        self.drawn = (depth, 2 * FIGURE_ROWS, 2 * FIGURE_COLUMNS)  # a gesture, at half the taps
        size = depth * 4 * FIGURE_ROWS * FIGURE_COLUMNS
        self.gestures = nn.Parameter(0.05 * torch.randn(len(FIGURES) * BEATS, size))
        behind = depth + 2 + 5 * depth
        self.channels = RAYS + behind + depth + 1 + 2 * (depth + 2) + 2 * depth + depth

    def forward(self, s: Scene, rows: int, columns: int) -> Tensor:
        rows, columns = rows * TAPS, columns * TAPS
        r = Rays.of(s, rows, columns)
        shape = (len(s), rows, columns)
        y, pan = r.y[:, :, None].expand(shape), r.pan[:, None, :].expand(shape)
        turns = torch.remainder(r.pan / PANORAMA, 1.0)[:, None, :].expand(shape)
        grounded = s.place[:, [PLACES.index(p) for p in GROUNDED]]
        wx, wz, reach = r.ground()
        below = (y < 0.02).to(y.dtype)
        near = below * (1.6 / reach).clamp(max=1)[:, :, None]
        along, ahead = torch.remainder(wx / STREET, 1.0), torch.remainder(wz / ROAD, 1.0)[:, :, None].expand(shape)
        lateral = _unit(pan * reach[:, :, None], -LATERAL, LATERAL) * 0.998 + 0.001
        beside = (_unit(r.sun(), -SUN_REACH, SUN_REACH) * 0.998 + 0.001)[:, None, :].expand(shape)
        drift = torch.remainder(turns + (s.time / 64)[:, None, None], 1.0)
        height = _unit(-y, -TOP, -BOTTOM)
        behind = torch.cat([
            self.panorama(grounded, turns, height),
            self.ground(grounded, along, ahead) * near[:, None],
            self.far_ground(grounded, along, ahead) * below[:, None],
            self.path(grounded, lateral, ahead) * near[:, None],
            self.clouds(grounded.sum(-1, keepdim=True), drift, _unit(-y, -1.35, 0)),
            self.sun(s.light, beside, height),
        ], 1)  # fmt: skip
        in_front, through = self._near(r, s)
        return torch.cat([
            self._rays(r, y, near, below, wx, wz), behind * through, in_front, through,
            *self._layers(self.spirals, {k: s.place[:, PLACES.index(k)] for k in SPIRALS},
                          lambda k, i: r.spiral(*SPIRALS[k][i])[:2]),
            *self._layers(self.motes, self._falling(s), lambda k, i: r.falling(*MOTES[k][i])),
            self._gesture(s, rows, columns),
        ], 1)  # fmt: skip

    def _rays(self, r: Rays, y: Tensor, near: Tensor, below: Tensor, wx: Tensor, wz: Tensor) -> Tensor:
        """What a line of sight is, without any texture: its height, and the waves that travel there."""
        flows, swells = 2 * pi * r.flows(), 2 * pi * r.swells(wx, wz)
        calm = near[:, None]
        x = r.screen_x[None, None, :].expand_as(y)
        up = r.screen_y[None, :, None].expand_as(y)
        looks = r.scene.place[:, len(PLACES) - len(LOOKS) :].sum(-1)[:, None, None]
        growth = -r.spiral(0, 0)[2].log() * looks if float(looks.max()) > SHOWN else torch.zeros_like(y)
        plain = torch.stack([y, smooth(-0.1, 0.1, y), near, below, x, up, growth], 1)
        return torch.cat([plain, flows.sin(), flows.cos(),
                          swells.sin() * calm, swells.cos() * calm], 1)  # fmt: skip

    def _near(self, r: Rays, s: Scene) -> tuple[Tensor, Tensor]:
        """The near planes laid over each other, and how much of what is behind them shows (Porter & Duff 1984)."""
        scenes = s.place[:, : len(SCENES)]
        laid, through = torch.zeros(1, device=s.time.device), torch.ones(1, device=s.time.device)
        for level, p in enumerate(r.planes()):
            content = F.one_hot(p.content[:, 0].long(), SLICES).to(scenes.dtype)
            weights = (scenes[:, :, None] * content[:, None, :]).flatten(1)
            u = (p.u / STREET)[:, None, :].expand(-1, p.height.shape[1], -1)
            v = _unit(-p.height, -TALLEST, 0.1)[:, :, None].expand_as(u)
            read = self.planes(weights, u, v, level) * p.seen[:, :, None, None]
            seen, opaque = read[:, :-1], read[:, -1:]
            laid = laid + seen * through
            through = through * (1 - opaque)
        return laid, through

    def _layers(self, kinds: nn.ModuleDict, weights: dict[str, Tensor],
                where: Callable[[str, int], tuple[Tensor, Tensor]]) -> list[Tensor]:  # fmt: skip
        """Two slots: the first and the second layer of whatever kinds are shown."""
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
        """The mixed gestures at the figure's phase, in the middle of the picture."""
        at = s.phase * BEATS
        low = at.floor()
        part = (at - low)[:, None]
        hat = F.one_hot(low.long() % BEATS, BEATS) * (1 - part) + F.one_hot((low.long() + 1) % BEATS, BEATS) * part
        weights = (s.figure[:, :, None] * hat[:, None, :]).flatten(1)
        used = torch.nonzero((weights > 1e-4).any(0)).flatten()
        middle = (weights[:, used] @ self.gestures[used]).unflatten(1, self.drawn)
        middle = F.interpolate(middle, scale_factor=TAPS / 2, mode="bilinear", align_corners=False)
        over, side = rows - TAPS * FIGURE_ROWS, columns - TAPS * FIGURE_COLUMNS
        return F.pad(middle, (side // 2, side - side // 2, over // 2, over - over // 2))
