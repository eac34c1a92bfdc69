"""The world's long memory: learned textures, spread over its places and read along the lines of sight.

A place has textures as a surface has in Deferred Neural Rendering (Thies et al. 2019): the panorama, the planes near
things stand on (coarser with distance), the ground, the sky's clouds, the light around the sun, falling drops, spirals,
and the skin of the figure. They are read TAPS times finer than a latent, because a latent holds nothing of its own
inside, and the near planes cover what is behind them at that resolution. A turn away and back reads the same texels
again. `stage.geometry` computes where a line of sight meets a texture, and `stage.figure` where the figure's bones are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..stage.constants import constant, indices
from ..stage.figure import FEET, TALL, contact, radii, skeleton, surface
from ..stage.geometry import DEPTH_PLANES, FLOWS, MOTES, SPIRALS, SWELLS, Rays, hypot, smoothstep
from ..stage.scene import PANORAMA, ROAD, STREET, Scene
from ..stage.vocabulary import FIGURES, LIGHTS, LOOKS, PLACES, SCENES, WEATHERS

if TYPE_CHECKING:
    from .texture_selection import Selection

TAPS = 4  # readings across a latent
HARMONICS = (1, 2, 4, 8)
BEARING_CHANNELS = 4 * len(HARMONICS)
GROUNDED = (*SCENES, "grid")  # places with a horizon
GROUNDED_PLACES = tuple(PLACES.index(place) for place in GROUNDED)
TOP, BOTTOM = 1.8, -1.2  # screen units over the horizon that a panorama covers
PLANE_HEIGHT = 2.4  # world units that a near plane covers
PLANE_REACH = 1.6  # world units left and right of the camera's own path
SUN_REACH = 1.6  # screen units around the sun
BODY_CHANNELS = 4  # channels of the figure beside its skin
RAY_CHANNELS = 10 + 2 * len(FLOWS) + 2 * (len(SWELLS) + 1)
SKIN_DEPTH = (-0.09, 0.25)  # distance from the figure's surface, in its height, that its skin covers
EDGE, HALO = 0.02, 0.03  # of the same: how far an edge is given exactly, and the direction it faces
SUN_DISC = 0.04  # screen units within which the sun's edge is given exactly
BEND_ROUNDS = 2  # waves bend waves that are bent
WEIGHT_MIN = 0.004  # a value with less weight is not read


class Reader(Protocol):
    """A `Texture`, or what was selected of one."""

    def __call__(self, weights: Tensor, u: Tensor, v: Tensor, level: int = 0) -> Tensor: ...


class Texture(nn.Module):
    """One texture for each of some values, mixed by their weights and read bilinearly.

    covers: the last of `channels` is how opaque the texture is there, and the others come multiplied by it.
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
        frame, value = torch.nonzero(weights > WEIGHT_MIN, as_tuple=True)
        if not len(frame):  # every process of a team must find a gradient for every texture
            return out + 0.0 * self.table[0, 0, 0, 0] if torch.is_grad_enabled() else out
        texture = wrapped(pooled(self.table[value], level), self.wrap_rows)
        read = sample(texture, u[frame], v[frame], self.wrap_rows, self.covers)
        read = read * weights[frame, value][:, None, None, None]
        return read if len(frame) == n == len(frame.unique()) else out.index_add(0, frame, read)


def pooled(texture: Tensor, level: int) -> Tensor:
    """(n, channels, rows, columns) with 2**level times coarser texels."""
    return F.avg_pool2d(texture, 2**level) if level else texture


def wrapped(texture: Tensor, wrap_rows: bool) -> Tensor:
    """The same with the texels of the opposite edge around it, so that bilinear reading goes on across the edge."""
    texture = torch.cat([texture[..., -1:], texture, texture[..., :1]], -1)
    return torch.cat([texture[..., -1:, :], texture, texture[..., :1, :]], -2) if wrap_rows else texture


def sample(texture: Tensor, u: Tensor, v: Tensor, wrap_rows: bool, covers: bool) -> Tensor:
    """Read `wrapped` textures at u and v (n, h, w) -> (n, channels, h, w)."""
    columns = texture.shape[3] - 2
    x = (u * columns + 1) * (2 / (columns + 2)) - 1
    y = v * 2 - 1
    if wrap_rows:
        rows = texture.shape[2] - 2
        y = (v * rows + 1) * (2 / (rows + 2)) - 1
    x_axis, y_axis = torch.eye(2, device=x.device)  # as a sum, which OpenVINO fuses, where it runs a stack slowly
    grid = x[..., None] * x_axis + y[..., None] * y_axis
    read = F.grid_sample(texture, grid, padding_mode="border", align_corners=False)
    if covers:
        opaque = read[:, -1:].sigmoid()
        read = torch.cat([read[:, :-1] * opaque, opaque], 1)
    return read


def unit(v: Tensor, low: float, high: float) -> Tensor:
    """Where v stands between low and high, 0..1."""
    return ((v - low) / (high - low)).clamp(0, 1)


def bearings(s: Scene, rows: int, columns: int) -> Tensor:
    """(n, BEARING_CHANNELS, rows, columns): where each column of latents looks, from a fixed bearing and from the
    sun's."""
    r = Rays.of(s, rows, columns)
    turns = torch.stack([r.pan, r.sun()], 1)[:, :, None] * (2 * pi / PANORAMA)
    a = (turns * constant(HARMONICS, turns)[:, None]).flatten(1, 2)
    return torch.cat([a.sin(), a.cos()], 1)[:, :, None].expand(-1, -1, rows, -1)


class Bend(nn.Module):
    """Waves that bend waves: how much each pushes the phase of each, learned place by place (Chowning 1973)."""

    def __init__(self, waves: int) -> None:
        super().__init__()
        self.push = nn.Parameter(torch.zeros(len(PLACES), waves, waves))

    def forward(self, place: Tensor, phases: Tensor) -> Tensor:
        """place (n, places), phases in turns (n, waves, h, w) -> sines and cosines (n, 2 * waves, h, w)."""
        push = torch.einsum("np,pij->nij", place, self.push) / (2 * pi)
        bent = still = phases.flatten(2)
        for _ in range(BEND_ROUNDS):
            bent = torch.baddbmm(still, push, sine(bent))
        return torch.cat([sine(bent), sine(bent + 0.25)], 1).unflatten(-1, phases.shape[2:])


SINE = (6.28318279, -41.3414194, 81.5961388, -76.5796879, 41.2037436, -12.2688599)


def sine(turns: Tensor) -> Tensor:
    """sin(2 pi turns). In a graph it is an odd polynomial within 1e-6, fitted by least squares over one turn: OpenVINO
    fuses that, where its own sine was a third of reading a frame's textures."""
    if not torch.jit.is_tracing():
        return (2 * pi * turns).sin()
    r = turns - turns.round()
    square = r * r
    y = torch.full_like(r, SINE[-1])
    for factor in reversed(SINE[:-1]):
        y = y * square + factor
    return y * r


@dataclass
class Coordinates:
    """Where the lines of sight meet the textures of a place with a horizon, (n, h, w) each: height y over the horizon,
    around the panorama (turns) and up it (height), along the ground and ahead on it, across the path; and how close
    below the horizon the ground is near. wx, wz: in world units."""

    y: Tensor
    turns: Tensor
    height: Tensor
    along: Tensor
    ahead: Tensor
    lateral: Tensor
    near: Tensor
    below: Tensor
    wx: Tensor
    wz: Tensor

    @classmethod
    def of(cls, r: Rays) -> Coordinates:
        shape = (len(r.scene), r.y.shape[1], r.x.shape[1])
        y, pan = r.y[:, :, None].expand(shape), r.pan[:, None, :].expand(shape)
        turns = torch.remainder(r.pan / PANORAMA, 1.0)[:, None, :].expand(shape)
        wx, wz, reach = r.ground()
        below = (y < 0.02).to(y.dtype)
        near = below * (1.6 / reach).clamp(max=1)[:, :, None]
        along, ahead = torch.remainder(wx / STREET, 1.0), torch.remainder(wz / ROAD, 1.0)[:, :, None].expand(shape)
        lateral = unit(pan * reach[:, :, None], -PLANE_REACH, PLANE_REACH) * 0.998 + 0.001
        return cls(y, turns, unit(-y, -TOP, -BOTTOM), along, ahead, lateral, near, below, wx, wz)


class NeuralTextures(nn.Module):
    """forward(scene, rows, columns) -> (n, channels, TAPS * rows, TAPS * columns).

    depth: numbers of a texel; the panorama and the spirals have two more, the near planes an opacity.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        grounded = len(GROUNDED)
        self.panorama = Texture(grounded, 108, 256, depth + 2)
        self.planes = Texture(len(SCENES) * DEPTH_PLANES, 80, 256, depth + 1, covers=True)
        self.ground = Texture(grounded, 128, 256, depth, wrap_rows=True)
        self.far_ground = Texture(grounded, 32, 64, depth, wrap_rows=True)
        self.path = Texture(grounded, 64, 96, depth, wrap_rows=True)
        self.flows, self.swells = Bend(len(FLOWS)), Bend(len(SWELLS) + 1)
        self.clouds = Texture(1, 48, 256, depth)
        self.sun = Texture(len(LIGHTS), 108, 116, depth)
        self.spirals = nn.ModuleDict({k: nn.ModuleList(Texture(1, 64, 192, depth + 2, wrap_rows=True) for _ in layers)
                                      for k, layers in SPIRALS.items()})  # fmt: skip
        self.motes = nn.ModuleDict({k: nn.ModuleList(Texture(1, 72, 128, depth, wrap_rows=True) for _ in layers)
                                    for k, layers in MOTES.items()})  # fmt: skip
        self.skin = Texture(1, 80, 16, depth)
        behind = depth + 2 + 5 * depth
        self.channels = RAY_CHANNELS + behind + depth + 1 + 2 * (depth + 2) + 2 * depth + depth + BODY_CHANNELS

    def forward(self, s: Scene, rows: int, columns: int, selected: Selection | None = None) -> Tensor:
        """selected: for a single scene, the textures that it shows, where they were selected before."""
        rows, columns = rows * TAPS, columns * TAPS
        t = selected or self
        r = Rays.of(s, rows, columns)
        c = Coordinates.of(r)
        grounded = s.place[:, indices(GROUNDED_PLACES, s.place.device)]
        beside = (unit(r.sun(), -SUN_REACH, SUN_REACH) * 0.998 + 0.001)[:, None, :].expand_as(c.y)
        drift = torch.remainder(c.turns + (s.time / 64)[:, None, None], 1.0)
        behind = torch.cat([
            t.panorama(grounded, c.turns, c.height),
            t.ground(grounded, c.along, c.ahead) * c.near[:, None],
            t.far_ground(grounded, c.along, c.ahead) * c.below[:, None],
            t.path(grounded, c.lateral, c.ahead) * c.near[:, None],
            t.clouds(grounded.sum(-1, keepdim=True), drift, unit(-c.y, -1.35, 0)),
            t.sun(s.light, beside, c.height),
        ], 1)  # fmt: skip
        in_front, through = near_planes(r, s, t.planes, selected.first if selected else None)
        layers = selected.layers(r) if selected else spirals_and_motes(self.spirals, self.motes, r, s)
        figure = self._figure(r, s, selected.skin, selected.ends) if selected else self._figure_if_there(r, s)
        return torch.cat(
            [self._rays(r, c, selected is not None), behind * through, in_front, through, *layers,
             figure], 1,
        )  # fmt: skip

    def _rays(self, r: Rays, c: Coordinates, always: bool) -> Tensor:
        """What is known of a line of sight without any texture: its height, and the waves that travel there."""
        y = c.y
        flows = self.flows(r.scene.place, r.flows())
        glitter = r.glitter()[:, None, :, None].expand(-1, 1, -1, y.shape[2])
        swells = self.swells(r.scene.place, torch.cat([r.swells(c.wx, c.wz), glitter], 1)) * c.near[:, None]
        x = r.screen_x[None, None, :].expand_as(y)
        up = r.screen_y[None, :, None].expand_as(y)
        looks = r.scene.place[:, len(PLACES) - len(LOOKS) :].sum(-1)[:, None, None]
        growth = -r.spiral(0, 0)[2].log() * looks if always or float(looks.max()) > WEIGHT_MIN else torch.zeros_like(y)
        plain = [y, smoothstep(-0.1, 0.1, y), c.near, c.below, x, up, growth, *disc(r)]
        return torch.cat([torch.stack(plain, 1), flows, swells], 1)

    def _figure_if_there(self, r: Rays, s: Scene) -> Tensor:
        there = 1 - s.figure[:, FIGURES.index("none")]
        if not shows_figure(s):
            nothing = torch.zeros(len(s), 1, len(r.screen_y), len(r.screen_x), device=s.time.device)
            return torch.cat([self.skin(torch.zeros_like(there)[:, None], nothing[:, 0], nothing[:, 0]),
                              nothing.expand(-1, BODY_CHANNELS, -1, -1)], 1)  # fmt: skip
        return self._figure(r, s, self.skin, skeleton(s.figure, s.phase)[0])

    def _figure(self, r: Rays, s: Scene, skin: Reader, ends: Tensor) -> Tensor:
        """The skin of the posed skeleton, read by how far from it a line of sight passes and which way the surface
        faces there, seen from the sun's side; and that distance, direction and the shadow under the feet themselves."""
        d, facing_x, facing_y, known = body(r, s, ends)
        there = 1 - s.figure[:, FIGURES.index("none")]
        read = skin(there[:, None], torch.atan2(facing_y, facing_x) / (2 * pi) + 0.5, unit(d, *SKIN_DEPTH))
        return torch.cat([read, known], 1)


def shows_figure(s: Scene) -> bool:
    """Whether any of the scenes shows more than a trace of the figure."""
    return float((1 - s.figure[:, FIGURES.index("none")]).detach().max()) >= WEIGHT_MIN


def body(r: Rays, s: Scene, ends: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the figure, whose skeleton is `ends`: the distance from its surface and the direction in which that faces as x
    and y, seen from the sun's side, (n, h, w) each; and (n, BODY_CHANNELS, h, w) what is known exactly of it."""
    there = 1 - s.figure[:, FIGURES.index("none")]
    x, y = r.screen_x / TALL, (r.screen_y - FEET) / TALL
    d, facing_x, facing_y = surface(x, y, ends, radii(ends))
    # Not `sign`, which is 0 as a world opens: the sun stands straight ahead.
    side = torch.where(r.sun_side() < 0, -1.0, 1.0)
    facing_x = facing_x * side[:, None, None]
    halo = torch.exp(-d.abs() / HALO)
    known = torch.stack([torch.tanh(-d / EDGE), facing_x * halo, facing_y * halo, contact(x, y, ends)], 1)
    return d, facing_x, facing_y, known * there[:, None, None, None]


def disc(r: Rays) -> list[Tensor]:
    """Of the sun or moon: its edge, how far within it a line of sight goes, and how high there; (n, h, w) each."""
    beside, over, radius, pulse = r.disc()
    off = hypot(beside[:, None, :], over[:, :, None])
    radius = radius[:, None, None]
    edge = torch.tanh((radius * pulse[:, None, None] - off) / SUN_DISC)
    within = torch.exp(-((off / radius) ** 2))
    return [edge, within, (over[:, :, None] / radius).clamp(-1.5, 1.5) * within]


def near_planes(r: Rays, s: Scene, planes: Reader, first: Tensor | None) -> tuple[Tensor, Tensor]:
    """The near planes laid over each other, and how much of what is behind them shows (Porter & Duff 1984)."""
    scenes = s.place[:, : len(SCENES)]
    laid, through = torch.zeros(1, device=s.time.device), torch.ones(1, device=s.time.device)
    for level, p in enumerate(r.planes(first)):
        weights = scenes
        if first is None:  # else they were selected before
            content = F.one_hot(p.content[:, 0].long(), DEPTH_PLANES).to(scenes.dtype)
            weights = (scenes[:, :, None] * content[:, None, :]).flatten(1)
        u = (p.u / STREET)[:, None, :].expand(-1, p.height.shape[1], -1)
        v = unit(-p.height, -PLANE_HEIGHT, 0.1)[:, :, None].expand_as(u)
        read = planes(weights, u, v, level) * p.seen[:, :, None, None]
        seen, opaque = read[:, :-1], read[:, -1:]
        laid = laid + seen * through
        through = through * (1 - opaque)
    return laid, through


def spirals_and_motes(spirals: nn.ModuleDict, motes: nn.ModuleDict, r: Rays, s: Scene) -> list[Tensor]:
    """The readings of both layers of spirals, and of both layers of drops."""
    places = {k: s.place[:, PLACES.index(k)] for k in SPIRALS}
    return [
        *two_layers(spirals, places, lambda k, i: r.spiral(*SPIRALS[k][i])[:2]),
        *two_layers(motes, falling(s), lambda k, i: r.falling(*MOTES[k][i])),
    ]


def two_layers(kinds: nn.ModuleDict, weights: dict[str, Tensor],
               where: Callable[[str, int], tuple[Tensor, Tensor]]) -> list[Tensor]:  # fmt: skip
    """Two slots: the first and the second layer of whatever kinds are shown."""
    slots: list[Tensor | None] = [None, None]
    for kind, layers in kinds.items():
        assert isinstance(layers, nn.ModuleList)
        for i, texture in enumerate(layers):
            read = texture(weights[kind][:, None], *where(kind, i))
            slots[i] = read if slots[i] is None else slots[i] + read
    return [slot for slot in slots if slot is not None]


def falling(s: Scene) -> dict[str, Tensor]:
    """How much of each kind of drops is shown, (n,) each."""
    shown = {k: s.weather[:, WEATHERS.index(k)] for k in MOTES if k in WEATHERS}
    return {**shown, "bubbles": s.place[:, PLACES.index("underwater")]}
