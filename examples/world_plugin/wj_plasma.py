"""A world in one file. `pip install ./examples/world_plugin`, then `wj play --model plasma`."""

import zlib

import numpy as np
import torch
from worldjockey.model import Controls, Prompt, Tokens, WorldSpec, WorldState


class Plasma:
    """Waves of colour: each prompt has its own colours, `energy` makes the waves finer, and the camera moves along."""

    def __init__(self, device: str = "auto", aspect: float | None = None) -> None:
        width = 4 * round(128 * (aspect or 16 / 9) / 4)
        self.spec = WorldSpec("plasma", width, 128, 30.0, 1, (), ("text",), "cpu", qualities=("full size", "half size"))
        self.set_quality(0)
        self.reset(0)

    def set_quality(self, level: int) -> None:
        """Choose one of the spec's `qualities` for the next steps; the node lowers it where the world is too slow."""
        height, width = self.spec.height >> level, self.spec.width >> level
        self.y, self.x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)

    def encode(self, prompt: Prompt) -> Tokens:
        """Tokens (1, 3), which are mixed between prompts. Called in a thread beside the frames, so it may be slow."""
        random = np.random.default_rng(zlib.crc32(prompt.text.encode()))
        return Tokens(random.uniform(0.5, 1.5, (1, 3)).astype(np.float32))

    def reset(self, seed: int) -> None:
        self.time, self.place = float(seed % 100), 0.0

    def step(self, controls: Controls) -> torch.Tensor:
        """One frame for the present controls, as uint8 (frames, height, width, 3)."""
        self.time += controls.dt
        self.place += controls.dt * controls.camera.get("strafe", 0.0)
        finer = 4 * (1 + controls.energy)
        wave = np.sin(finer * (self.x + self.place)) + np.sin(finer * self.y + self.time)
        colours = np.sin(wave[..., None] * controls.tokens[0] * 2 + self.time)
        return torch.from_numpy((colours * 127.5 + 127.5).astype(np.uint8)[None])

    def snapshot(self) -> WorldState:
        return WorldState({"time": self.time, "place": self.place})

    def restore(self, state: WorldState) -> None:
        self.time, self.place = state.data["time"], state.data["place"]
