"""Trains the reader of image prompts on latents of the stage."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ..nano.image_reader import ImageReader
from ..stage.geometry import SUN_SWAY, SWAY, wrap
from ..stage.scene import PANORAMA, Scene
from ..stage.vocabulary import ATTRIBUTES
from .clips import Clips

BATCH_IMAGES = 64


def apparent(s: Scene) -> Tensor:
    """(n, SEED_DIM): the seed with which a camera that has not moved sees the same warmth, horizon and sun.

    One image cannot distinguish a sun that stands left from a camera that is turned right.
    """
    horizon = s.seed[:, 1] + s.pitch / SWAY
    sun = wrap(SUN_SWAY * s.seed[:, 2] - s.yaw, PANORAMA) / SUN_SWAY
    return torch.stack([s.seed[:, 0], horizon, sun, torch.zeros_like(sun)], -1).clamp(-1, 1)


def train(
    clips: Clips, mean: Tensor, std: Tensor, out: Path, *, steps: int, held: int, seed: int = 0
) -> dict[str, float]:
    """Writes the weights; returns accuracy per attribute (and the seed's mean error) on sequences it never saw."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    reader = ImageReader(clips.latents.shape[2])
    opt = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=0.02)
    frames, spread = clips.latents.shape[1], (1, -1, 1, 1)

    def batch(pick: Tensor, at: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        latent = (clips.latents[pick, at].float() - mean.view(spread)) / std.view(spread)
        scene = clips.scene(pick, 0, frames)[torch.arange(len(pick)) * frames + at]
        return latent, {**{k: getattr(scene, k) for k in ATTRIBUTES}, "seed": apparent(scene)}

    for step in range(steps):
        pick = torch.randint(0, len(clips) - held, (BATCH_IMAGES,), generator=rng)
        latent, want = batch(pick, torch.randint(0, frames, (BATCH_IMAGES,), generator=rng))
        predicted = reader(latent + 0.15 * torch.randn(latent.shape, generator=rng))
        loss = 4 * F.mse_loss(predicted["seed"], want["seed"])
        for k in ATTRIBUTES:
            loss = loss + F.cross_entropy(predicted[k], want[k])
        opt.param_groups[0]["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        opt.zero_grad()
        loss.backward()
        opt.step()
    reader.eval()
    with torch.no_grad():
        pick = torch.arange(len(clips) - held, len(clips))
        latent, want = batch(pick, torch.zeros(len(pick), dtype=torch.long))
        predicted = reader(latent)
    save_file(reader.state_dict(), out)
    right = {k: float((predicted[k].argmax(-1) == want[k].argmax(-1)).float().mean()) for k in ATTRIBUTES}
    return {**right, "seed": float((predicted["seed"] - want["seed"]).abs().mean())}
