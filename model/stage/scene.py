"""Everything a stage frame is a function of, as one batch of numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import pi

import torch
from torch import Tensor

PANORAMA = 64 / 9  # screen units around one full turn: two screens of 16:9
STREET = 8.0  # world units after which strafing repeats
ROAD = 4.0  # world units after which moving forward repeats
CLOCKS = (1.0, 4.0, 16.0, 64.0)  # seconds after which rain, waves, clouds, ... repeat
SEED_DIM = 4


@dataclass
class Scene:
    """A batch of n moments of the stage.

    place, light, weather, figure, tint: (n, k) weights that sum to 1 over the lists of `vocabulary`.
    phase: (n,) 0..1, where the figure is in the cycle of its act. time: (n,) seconds.
    yaw: (n,) screen units, wraps at PANORAMA. x, z: (n,) world units, wrap at STREET and ROAD.
    pitch: (n,) screen units the horizon moves down. zoom: (n,) factor. energy: (n,) 0..1.
    seed: (n, SEED_DIM) in -1..1, the look of this particular world.
    """

    place: Tensor
    light: Tensor
    weather: Tensor
    figure: Tensor
    tint: Tensor
    phase: Tensor
    time: Tensor
    yaw: Tensor
    x: Tensor
    z: Tensor
    pitch: Tensor
    zoom: Tensor
    energy: Tensor
    seed: Tensor

    def __len__(self) -> int:
        return self.time.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Scene:
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


def circle(value: Tensor, period: float, harmonics: tuple[int, ...]) -> Tensor:
    """(n, 2 * len(harmonics)): a value that wraps, as sines and cosines."""
    angles = value[:, None] * (2 * pi / period) * torch.tensor(harmonics, dtype=value.dtype, device=value.device)
    return torch.cat([angles.sin(), angles.cos()], -1)


def pose_features(s: Scene) -> Tensor:
    """(n, 26): where the camera is."""
    return torch.cat(
        [
            circle(s.yaw, PANORAMA, (1, 2, 4, 8)),
            circle(s.x, STREET, (1, 2, 4, 8)),
            circle(s.z, ROAD, (1, 2, 4, 8)),
            s.pitch[:, None] * 2,
            s.zoom.log()[:, None] * 2,
        ],
        -1,
    )


def time_features(s: Scene) -> Tensor:
    """(n, 16): where every clock of the world is."""
    return torch.cat([circle(s.time, period, (1, 2)) for period in CLOCKS], -1)


def act_features(s: Scene) -> Tensor:
    """(n, 7 + 6): what the figure does, and where in the cycle it is."""
    return torch.cat([s.figure, circle(s.phase, 1.0, (1, 2, 3))], -1)


POSE_DIM, TIME_DIM, ACT_DIM = 26, 16, 13
