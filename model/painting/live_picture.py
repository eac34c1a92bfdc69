"""The live picture itself as a world, so that a painter can paint over a camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..spec import Controls, Prompt, Tokens, WorldSpec, WorldState

SIZE = 1024, 576  # width and height until the first live picture
GREY = 40  # of the picture while there is none


class LivePicture:
    """A `World` that shows `Controls.live` as it is."""

    def __init__(self) -> None:
        self.spec = WorldSpec("live", *SIZE, 30.0, 1, (), ("text", "live"), "cpu")

    def encode(self, prompt: Prompt) -> Tokens:
        """(1, 1): a prompt says nothing to a camera."""
        return Tokens(np.zeros((1, 1), np.float32))

    def reset(self, seed: int) -> None:
        """A camera has no memory."""

    def step(self, controls: Controls) -> NDArray[np.uint8]:
        if controls.live is None:
            return np.full((1, self.spec.height, self.spec.width, 3), GREY, np.uint8)
        return controls.live[None]

    def snapshot(self) -> WorldState:
        return WorldState({})

    def restore(self, state: WorldState) -> None:
        """There is nothing to restore."""
