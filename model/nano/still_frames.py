"""What nano draws of a scene that stands still: examples to calibrate by, and to train decoders with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..stage.scene import Scene
from .sampler import sample
from .transformer import Conditioning, KVCache, Readings, Vectors

if TYPE_CHECKING:
    from .world import Nano

STEP_S = 0.05  # length of a step of the world


def conditioning(scene: Scene) -> Conditioning:
    return Conditioning.of(scene, torch.full((len(scene),), STEP_S))


@torch.inference_mode()
def still(nano: Nano, scene: Scene, noise: torch.Generator, frames: int = 1) -> tuple[Tensor, Readings, Vectors]:
    """The normalised latents (1, c, rows, columns) of the last of some frames of one scene, each drawn in one step
    after the others, and what they were drawn from. By PyTorch; what is played now is left alone."""
    vectors, readings, cache = conditioning(scene).vectors(), nano.pytorch.read(scene), KVCache()

    def predict(noisy: Tensor, level: float) -> Tensor:
        return nano.pytorch.denoise(noisy, level, vectors, readings, cache)

    latents = torch.zeros(nano.latent_shape)
    for _ in range(frames):
        latents = sample(predict, torch.randn(nano.latent_shape, generator=noise), 1)
        cache.commit()
    return latents, readings, vectors
