"""Everything a stage frame is a function of, as one batch of numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import pi

import torch
from torch import Tensor

from .constants import constant
from .vocabulary import ATTRIBUTES

PANORAMA = 64 / 9  # screen units around one full turn: two screens of 16:9
STREET = 8.0  # world units after which strafing repeats
ROAD = 4.0  # world units after which moving forward repeats
CLOCK_PERIODS_S = (1.0, 4.0, 16.0, 64.0)  # seconds after which rain, waves, clouds, ... repeat
SEED_DIM = 4
SOUND = ("level", "bass", "treble", "onset")  # what of a sound moves the scene, 0..1 each
NUMBERS = ("phase", "time", "yaw", "x", "z", "pitch", "zoom")
SIZES = {
    **{k: len(v) for k, v in ATTRIBUTES.items()}, **dict.fromkeys(NUMBERS, 1), "sound": len(SOUND), "seed": SEED_DIM,
}  # fmt: skip
SCENE_DIM = sum(SIZES.values())


@dataclass
class Scene:
    """A batch of n moments of the stage.

    place, light, weather, figure, tint, mood: (n, k) weights that sum to 1 over the lists of `vocabulary`.
    phase: (n,) 0..1, where the figure is in the cycle of its act. time: (n,) seconds.
    yaw: (n,) screen units, wraps at PANORAMA. x, z: (n,) world units, wrap at STREET and ROAD.
    pitch: (n,) screen units the horizon moves down. zoom: (n,) factor.
    sound: (n, 4) of SOUND. seed: (n, SEED_DIM) in -1..1, the look of this particular world.
    """

    place: Tensor
    light: Tensor
    weather: Tensor
    figure: Tensor
    tint: Tensor
    mood: Tensor
    phase: Tensor
    time: Tensor
    yaw: Tensor
    x: Tensor
    z: Tensor
    pitch: Tensor
    zoom: Tensor
    sound: Tensor
    seed: Tensor

    def __len__(self) -> int:
        return self.time.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Scene:
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def flat(self) -> Tensor:
        """(n, SCENE_DIM), what is kept on disk."""
        return torch.cat([v[:, None] if v.dim() == 1 else v for v in (getattr(self, k) for k in SIZES)], -1)

    @classmethod
    def of(cls, flat: Tensor) -> Scene:
        """The inverse of `flat`."""
        parts = dict(zip(SIZES, flat.split(list(SIZES.values()), -1), strict=True))
        return cls(**{k: v[:, 0] if k in NUMBERS else v for k, v in parts.items()})


def circle(value: Tensor, period: float, harmonics: tuple[int, ...]) -> Tensor:
    """(n, 2 * len(harmonics)): a value that wraps, as sines and cosines."""
    angles = value[:, None] * (2 * pi / period) * constant(harmonics, value)
    return torch.cat([angles.sin(), angles.cos()], -1)
