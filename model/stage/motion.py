"""How camera, clocks and figure advance: shared by the stage that teaches and the world that plays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .scene import CLOCK_PERIODS_S, PANORAMA, ROAD, SEED_DIM, STREET
from .vocabulary import FIGURES

# Speed of full deflection, in units a second.
STRAFE, FORWARD, YAW = 1.2, 0.8, 1.2
PITCH_RANGE, ZOOM_RANGE = 0.5, 0.45  # pitch and zoom are positions, reached in about LEAN_S seconds
LEAN_S = 0.4
ACT_RATE_HZ = {
    "none": 0.25,
    "dance": 0.5,
    "robot": 0.5,
    "headbang": 1.0,
    "jump": 1.0,
    "wave": 1.0,
    "cry": 0.5,
    "pose": 0.25,
    "walk": 1.0,
    "run": 1.5,
    "bow": 0.33,
}  # cycles a second
AUDIO_SPEEDUP = 0.5  # how much faster the figure moves at full level
ACT_BLEND_S = 0.15  # seconds from one act to the next


@dataclass
class Motion:
    """Where the camera, the clocks and the figure are. A small value: copy it to remember a moment."""

    time: float = 0.0
    x: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    zoom: float = 1.0
    phase: float = 0.0
    figure: NDArray[np.float32] = field(default_factory=lambda: _one_hot("none"))
    seed: NDArray[np.float32] = field(default_factory=lambda: np.zeros(SEED_DIM, np.float32))

    def advance(
        self, dt: float, camera: Mapping[str, float], acts: Mapping[str, float],
        prompted: NDArray[np.float32] | None = None, level: float = 0.0,
    ) -> None:  # fmt: skip
        """Move on by dt seconds.

        camera: axis -> -1..1. acts: act -> strength; "freeze" holds the figure where it is, "none" commands nothing.
        prompted: weights of FIGURES that the prompt itself asks for, used while no act is played.
        level: 0..1 of the sound, which drives the figure.
        """
        self.time = (self.time + dt) % CLOCK_PERIODS_S[-1]
        self.x = (self.x + camera.get("strafe", 0.0) * STRAFE * dt) % STREET
        self.z = (self.z + camera.get("forward", 0.0) * FORWARD * dt) % ROAD
        self.yaw = (self.yaw + camera.get("yaw", 0.0) * YAW * dt) % PANORAMA
        lean = min(1.0, dt / LEAN_S)
        self.pitch += (camera.get("pitch", 0.0) * PITCH_RANGE - self.pitch) * lean
        self.zoom += (float(np.exp(camera.get("zoom", 0.0) * ZOOM_RANGE)) - self.zoom) * lean
        hold = min(max(acts.get("freeze", 0.0), 0.0), 1.0)
        wanted = np.array([max(acts.get(f, 0.0), 0.0) * (f != "none") for f in FIGURES], np.float32)
        rest = 1.0 - min(1.0, float(wanted.sum()))
        if prompted is not None and rest > 0:
            wanted = wanted + rest * prompted
        if wanted.sum() < 1e-3:
            wanted = self.figure
        wanted = wanted / wanted.sum()
        self.figure = self.figure + (wanted - self.figure) * (min(1.0, dt / ACT_BLEND_S) * (1.0 - hold))
        rate = float(sum(ACT_RATE_HZ[f] * w for f, w in zip(FIGURES, self.figure, strict=True)))
        self.phase = (self.phase + dt * rate * (1.0 + AUDIO_SPEEDUP * level) * (1.0 - hold)) % 1.0


def _one_hot(act: str) -> NDArray[np.float32]:
    v = np.zeros(len(FIGURES), np.float32)
    v[FIGURES.index(act)] = 1.0
    return v
