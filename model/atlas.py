"""What the world remembers of its places and gestures, read at the camera's pose and the figure's phase.

Rays: for every latent, where its line of sight goes (bearing, height, and the ground or near plane it meets), in the
manner of the ray maps of camera-controlled video models (He et al. 2024, CameraCtrl). Maps: a learned panorama for each
place and a learned cycle for each gesture, mixed by the prompt's weights and sampled along those rays: a turn away and
back reads the same entries again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stage.render import CAMERA, SLICES
from .stage.scene import PANORAMA, ROAD, STREET
from .stage.vocabulary import FIGURES, PLACES

BEATS = 12  # entries of a gesture's cycle
BEARINGS = (1, 2, 4, 8, 16)
GROUND_X, GROUND_Z, PLANES = (1, 2, 4), (1, 2), (1, 2, 4)
RAY_DIM = 2 * len(BEARINGS) + 3 + 2 * len(GROUND_X) + 2 * len(GROUND_Z) + 2 * len(PLANES) * SLICES + SLICES


@dataclass(frozen=True)
class Pose:
    """The camera as plain numbers, (n,) each, out of `scene.pose_features` and the seed."""

    yaw: Tensor
    x: Tensor
    z: Tensor
    pitch: Tensor
    zoom: Tensor
    sway: Tensor

    @classmethod
    def of(cls, features: Tensor, seed: Tensor) -> Pose:
        def turn(at: int, period: float) -> Tensor:
            return torch.atan2(features[:, at], features[:, at + 4]) * (period / (2 * pi))

        sway = 0.10 * seed[:, 1]
        return cls(
            turn(0, PANORAMA), turn(8, STREET), turn(16, ROAD), features[:, 24] / 2, (features[:, 25] / 2).exp(), sway
        )


def _waves(v: Tensor, period: float, harmonics: tuple[int, ...]) -> Tensor:
    """(n, h, w) -> (n, 2 k, h, w)"""
    a = v[:, None] * (2 * pi / period) * torch.tensor(harmonics, dtype=v.dtype, device=v.device)[:, None, None]
    return torch.cat([a.sin(), a.cos()], 1)


class Atlas(nn.Module):
    """forward: pose (n, 26), seed (n, 4), place (n, 8), act (n, 13) -> (n, channels, rows, columns)."""

    def __init__(self, rows: int, columns: int, depth: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.channels = RAY_DIM + 2 * depth
        tall, wide = 4 * rows, round(2 * rows * PANORAMA / 2)  # twice as fine as the latents
        self.places = nn.Parameter(0.3 * torch.randn(len(PLACES), depth, tall, wide))
        self.gestures = nn.Parameter(0.3 * torch.randn(len(FIGURES) * BEATS, depth, rows, columns // 2))
        ys = 1 - (torch.arange(rows) + 0.5) * 2 / rows
        xs = ((torch.arange(columns) + 0.5) * 2 / columns - 1) * (columns / rows)
        self.xs: Tensor
        self.ys: Tensor
        self.register_buffer("xs", xs, persistent=False)
        self.register_buffer("ys", ys, persistent=False)

    def forward(self, pose: Tensor, seed: Tensor, place: Tensor, act: Tensor) -> Tensor:
        p = Pose.of(pose, seed)
        shape = (-1, self.rows, self.columns)
        x = self.xs[None] / p.zoom[:, None]
        y = (self.ys[None] / p.zoom[:, None] + (p.pitch + 0.12 + p.sway)[:, None])[:, :, None].expand(shape)
        pan = torch.remainder(x + p.yaw[:, None] + PANORAMA / 2, PANORAMA) - PANORAMA / 2
        pan = pan[:, None, :].expand(shape)
        reach = (CAMERA / (-y).clamp(min=0.05)).clamp(max=8)
        near = (1.5 / reach).clamp(max=1) * (y < 0)
        wx, wz = pan * reach + p.x[:, None, None], reach + p.z[:, None, None]
        ground = torch.cat([_waves(wx, STREET, GROUND_X), _waves(wz, ROAD, GROUND_Z)], 1) * near[:, None]
        flow = torch.remainder(p.z, ROAD) / ROAD * SLICES
        frac, first = flow - flow.floor(), flow.floor()
        planes = []
        for k in range(SLICES):
            d = (0.85 * 1.95 ** (k + 1 - frac))[:, None, None]
            u = pan * d + (p.x + (k + first) * 2.3)[:, None, None]
            planes += [_waves(u, STREET, PLANES), (y * d + CAMERA)[:, None].clamp(-1, 3)]
        rays = [
            _waves(pan, PANORAMA, BEARINGS),
            y[:, None],
            near[:, None],
            (y > 0)[:, None].to(y.dtype),
            ground,
            *planes,
        ]
        return torch.cat([*rays, self._panorama(pan, y, place), self._gesture(act)], 1)

    def _panorama(self, pan: Tensor, y: Tensor, place: Tensor) -> Tensor:
        """The mixed map of the places, sampled along the rays."""
        mixed = torch.einsum("np,pchw->nchw", place, self.places)
        mixed = torch.cat([mixed, mixed[..., :1]], -1)  # closed: the last column leads on to the first
        at = torch.stack([pan / (PANORAMA / 2), -y / 1.75], -1)
        return F.grid_sample(mixed, at, mode="bilinear", padding_mode="border", align_corners=True)

    def _gesture(self, act: Tensor) -> Tensor:
        """The mixed map of the gestures at the figure's phase, in the middle of the picture."""
        weights = act[:, : len(FIGURES)]
        at = torch.remainder(torch.atan2(act[:, len(FIGURES)], act[:, len(FIGURES) + 3]) / (2 * pi), 1.0) * BEATS
        low = at.floor()
        part = at - low
        hat = F.one_hot(low.long() % BEATS, BEATS) * (1 - part)[:, None]
        hat = hat + F.one_hot((low.long() + 1) % BEATS, BEATS) * part[:, None]
        mix = (weights[:, :, None] * hat[:, None, :]).flatten(1)
        middle = (mix @ self.gestures.flatten(1)).unflatten(1, self.gestures.shape[1:])
        side = (self.columns - middle.shape[-1]) // 2
        return F.pad(middle, (side, self.columns - middle.shape[-1] - side))
