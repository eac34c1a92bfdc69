"""The stage behind the contract of a world: true frames for the same prompts, commands and clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...nano.picture_geometry import PictureGeometry
from ...spec import ACTS, Array, Controls, Geometry, Prompt, Tokens, WorldSpec, WorldState
from ...stage.captions import phrases
from ...stage.motion import Motion
from ...stage.render import render
from ...stage.sample import to_bytes
from ...stage.scene import NUMBERS, SEED_DIM, Scene
from ...stage.vocabulary import ATTRIBUTES, FIGURES, OPENING, WIDTH


class StageWorld:
    """Obeys at once and exactly. Reads prompts made of known phrases, divided by commas, in the order of ATTRIBUTES."""

    def __init__(self, height: int = 288, width: int = 512) -> None:
        self.spec = WorldSpec("stage", width, height, 20.0, 1, ACTS, ("text", "action"), "cpu")
        self._geometry = PictureGeometry(height // 4, width // 4)
        self.reset(0)

    def encode(self, prompt: Prompt) -> Tokens:
        values = np.zeros((len(ATTRIBUTES), WIDTH), np.float32)
        names, at = list(ATTRIBUTES), 0
        for phrase in prompt.text.lower().split(", "):
            for i in range(at, len(names)):
                known = ATTRIBUTES[names[i]]
                found = [v for v in known if any(phrase in phrases(names[i], v, held) for held in (False, True))]
                if phrase in known or found:
                    values[i, known.index(phrase if phrase in known else found[0])] = 1
                    at = i + 1
                    break
        return Tokens(values)

    def reset(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shape = rng.uniform(-1, 1, SEED_DIM).astype(np.float32) if seed else np.zeros(SEED_DIM, np.float32)
        self.motion = Motion(seed=shape, figure=np.eye(len(FIGURES), dtype=np.float32)[FIGURES.index("dance")])
        self.look = [np.eye(len(v), dtype=np.float32)[v.index(OPENING[k])] for k, v in ATTRIBUTES.items()]
        self._geometry.forget()

    def _move(self, c: Controls, seconds: float) -> list[Array]:
        for i, row in enumerate(np.maximum(c.tokens, 0)):
            row, whole = row[: len(self.look[i])], float(row.sum())
            share = min(whole, 1.0)
            self.look[i] = (share * row / max(whole, 1e-6) + (1 - share) * self.look[i]).astype(np.float32)
        figure = self.look[list(ATTRIBUTES).index("figure")]
        self.motion.advance(seconds, c.camera, c.acts, figure, _sound(c)[0])
        return self.look

    def skip(self, c: Controls, seconds: float) -> None:
        """Move on without drawing."""
        for _ in range(max(1, round(seconds / c.dt))):
            self._move(c, c.dt)

    def scene(self, c: Controls) -> Scene:
        m = self.motion
        rows: dict[str, Any] = {k: torch.from_numpy(self.look[i])[None] for i, k in enumerate(ATTRIBUTES)}
        rows |= {k: torch.tensor([float(getattr(m, k))]) for k in NUMBERS}
        rows |= {"figure": torch.from_numpy(m.figure)[None], "seed": torch.from_numpy(m.seed)[None]}
        return Scene(**rows, sound=torch.tensor([_sound(c)]))

    def step(self, c: Controls) -> Tensor:
        self._move(c, c.dt)
        scene = self.scene(c)
        self._geometry.note(scene)
        return to_bytes(render(scene, self.spec.height, self.spec.width)).permute(0, 2, 3, 1).contiguous()

    def geometry(self) -> Geometry | None:
        return self._geometry.latest()

    def snapshot(self) -> WorldState:
        return WorldState({"motion": replace(self.motion, figure=self.motion.figure.copy()), "look": list(self.look)})

    def restore(self, state: WorldState) -> None:
        data: Mapping[str, Any] = state.data
        self.motion = replace(data["motion"], figure=data["motion"].figure.copy())
        self.look = list(data["look"])
        self._geometry.forget()


def _sound(c: Controls) -> tuple[float, float, float, float]:
    """The energy fader drives level and bass, as in the embedded world."""
    level, bass, treble, onset = c.sound
    return max(level, c.energy), max(bass, c.energy), max(treble, 0.6 * c.energy), onset
