"""Draws random moments and sequences of the stage, with exact labels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .geometry import smoothstep
from .motion import PITCH_RANGE, ZOOM_RANGE, Motion
from .scene import CLOCK_PERIODS_S, PANORAMA, ROAD, SEED_DIM, STREET, Scene
from .vocabulary import ATTRIBUTES, FIGURES

DT_MIN, DT_MAX = 1 / 30, 1 / 8
PROMPTED = ("place", "light", "weather", "tint", "mood")  # what a prompt can set besides the figure


@dataclass(frozen=True)
class Sequence:
    """scene: n moments in order. dt: seconds of each step. labels: the attribute each frame mostly shows, (n,) ints."""

    scene: Scene
    dt: float
    labels: dict[str, NDArray[np.int64]]


def _look(rng: np.random.Generator) -> dict[str, int]:
    look = {k: int(rng.integers(len(v))) for k, v in ATTRIBUTES.items()}
    if rng.random() < 0.6:
        look["tint"] = 0
    if rng.random() < 0.35:
        look["weather"] = 0
    if rng.random() < 0.2:
        look["figure"] = FIGURES.index("dance")
    if rng.random() < 0.5:
        look["mood"] = 0
    return look


def sequence(seed: int, frames: int, switch: float = 0.45) -> Sequence:
    """A random run of `frames` steps; with probability `switch` the prompt changes on the way (0 to 1.5 s long)."""
    rng = np.random.default_rng(seed)
    first, second = _look(rng), _look(rng)
    for key in ATTRIBUTES:  # a prompt often keeps something of the last one
        if rng.random() < 0.3:
            second[key] = first[key]
    dt = float(np.exp(rng.uniform(np.log(DT_MIN), np.log(DT_MAX))))
    at = rng.integers(1, frames) * dt if rng.random() < switch else np.inf
    length = float(rng.choice([0.0, rng.uniform(0.2, 1.5)]))
    act_at = int(rng.integers(1, frames)) if rng.random() < 0.4 else frames
    acts = [FIGURES[first["figure"]], str(rng.choice([*FIGURES, "freeze"]))]

    def axes() -> dict[str, float]:
        if rng.random() < 0.3:
            return {}
        names = rng.choice(["strafe", "forward", "yaw", "pitch", "zoom"], size=int(rng.integers(1, 3)), replace=False)
        return {str(n): float(rng.uniform(-1, 1)) for n in names}

    cameras = [axes(), axes()]
    turn = int(rng.integers(1, frames)) if rng.random() < 0.3 else frames
    motion = Motion(
        time=rng.uniform(0, CLOCK_PERIODS_S[-1]),
        x=rng.uniform(0, STREET),
        z=rng.uniform(0, ROAD),
        yaw=rng.uniform(0, PANORAMA),
        pitch=rng.uniform(-0.6, 0.6) * PITCH_RANGE if rng.random() < 0.3 else 0.0,
        zoom=float(np.exp(rng.uniform(-0.7, 0.9) * ZOOM_RANGE)) if rng.random() < 0.3 else 1.0,
        phase=rng.random(),
        figure=np.eye(len(FIGURES), dtype=np.float32)[first["figure"]],
        seed=rng.uniform(-1, 1, SEED_DIM).astype(np.float32),
    )
    if rng.random() < 0.35:  # at home, where a show starts
        motion.x = motion.z = motion.yaw = 0.0
    loud, beat = (rng.uniform(0, 1, 4), rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else (np.zeros(4), 1.0)
    nobody = np.eye(len(FIGURES), dtype=np.float32)[FIGURES.index("none")]
    rows: dict[str, list[NDArray[np.float32] | float]] = {f.name: [] for f in fields(Scene)}
    for i in range(frames):
        prompted = second["figure"] if i * dt >= at else first["figure"]
        wanted = acts[1] if i >= act_at else FIGURES[prompted]
        sound = loud * np.exp(-np.array([2.0, 4.0, 6.0, 12.0]) * ((i * dt / beat) % 1.0))
        motion.advance(dt, cameras[i >= turn], {wanted: 1.0}, nobody if wanted == "none" else None, float(sound[0]))
        mix = float(i * dt >= at)
        if length > 0 and np.isfinite(at):
            mix = float(smoothstep(0.0, length, torch.tensor(i * dt - at, dtype=torch.float64)))
        for key in PROMPTED:
            eye = np.eye(len(ATTRIBUTES[key]), dtype=np.float32)
            rows[key].append(eye[first[key]] * (1 - mix) + eye[second[key]] * mix)
        rows["figure"].append(motion.figure.copy())
        for name in ("phase", "time", "yaw", "x", "z", "pitch", "zoom"):
            rows[name].append(float(getattr(motion, name)))
        rows["sound"].append(sound.astype(np.float32))
        rows["seed"].append(motion.seed)
    scene = Scene(**{k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in rows.items()})
    labels = {k: getattr(scene, k).argmax(-1).numpy() for k in ATTRIBUTES}
    return Sequence(scene, dt, labels)


def moments(seed: int, count: int) -> Scene:
    """`count` independent moments, as a Scene."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(count):
        at = int(rng.integers(0, 8))
        parts.append(sequence(seed * 1_000_003 + i, 8).scene[at : at + 1])
    return Scene(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Scene)})


def to_bytes(image: Tensor) -> Tensor:
    """(n, 3, h, w) float 0..1 -> uint8."""
    return (image * 255 + 0.5).to(torch.uint8)
