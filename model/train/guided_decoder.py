"""Trains the decoder to frames of twice the size, for a finished world."""

from __future__ import annotations

from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..evaluate.metrics import psnr
from ..nano.frame_graphs import guiding
from ..nano.guided_decoder import SCALE, GuidedConfig, GuidedDecoder
from ..nano.still_frames import conditioning, still
from ..nano.world import Nano
from ..stage.sample import moments
from ..stage.scene import Scene
from .autoencoder import CHUNK_FRAMES, IMAGES_SEED, image_loss, stage_images
from .muon import Rates, optimisers
from .run import Run

BATCH_IMAGES = 2
HELD_IMAGES = 24
PLAYED_SHARE = 2 / 3  # of the latents that come from the world itself, and not from the autoencoder
UNGUIDED_SHARE = 0.08  # of the examples, so that a live picture can be decoded without a guide
LATENT_NOISE = 0.1


def stage_scenes(count: int) -> Scene:
    """The scenes of `stage_images`."""
    chunks = [moments(IMAGES_SEED + n, min(CHUNK_FRAMES, count - start))
              for n, start in enumerate(range(0, count, CHUNK_FRAMES))]  # fmt: skip
    return Scene.of(torch.cat([chunk.flat() for chunk in chunks]))


@torch.inference_mode()
def played_latents(nano: Nano, scenes: Scene, file: Path) -> NDArray[np.float16]:
    """(n, c, rows, columns): what the world draws of each scene in one step, after a first frame of the same. Made
    once, and kept on disk."""
    if not file.exists():
        made = np.zeros((len(scenes), *nano.latent_shape[1:]), np.float16)
        noise = torch.Generator().manual_seed(0)
        for i in range(len(scenes)):
            latents, _, _ = still(nano, scenes[i : i + 1], noise, frames=2)
            made[i] = (latents * nano.std + nano.mean).numpy()[0]
        np.save(file.with_suffix(".part.npy"), made)
        file.with_suffix(".part.npy").rename(file)
    found: NDArray[np.float16] = np.load(file, mmap_mode="r")
    return found


def untrained(nano: Nano) -> GuidedDecoder:
    """With the layers of the autoencoder's own decoder where both have the same."""
    decoder = GuidedDecoder(GuidedConfig(nano.world.textures.channels), nano.autoencoder.config)
    own = list(nano.autoencoder.decoder)[: len(decoder.low)]
    for mine, layer in zip(decoder.low, own, strict=True):
        mine.load_state_dict(layer.state_dict())
    return decoder


def train(
    folder: Path, nano: Nano, *, steps: int, count: int, shape: tuple[int, int], workers: int = 2, seed: int = 0
) -> GuidedDecoder:  # fmt: skip
    """Resumes from its checkpoint. Writes folder/large.pt and .json."""
    torch.manual_seed(seed)
    decoder = untrained(nano)
    for module in (nano.world, nano.autoencoder):
        module.requires_grad_(False)
    small = stage_images(folder, count, shape, workers)
    large = stage_images(folder, count, (SCALE * shape[0], SCALE * shape[1]), workers)
    scenes = stage_scenes(count)
    played = played_latents(nano, scenes, folder / f"played-{count}.npy")
    held = min(HELD_IMAGES, count // 4)
    opts = optimisers(decoder, lr=1.5e-3, matrix_lr=0.01)
    rates, run = Rates(opts), Run(folder, "large", steps)
    if saved := run.load():
        decoder.load_state_dict(saved["model"])
        for o, s in zip(opts, saved["optimisers"], strict=True):
            o.load_state_dict(s)

    def drawn(index: Tensor, latents: Tensor, guided: Tensor) -> Tensor:
        now = conditioning(scenes[index])
        with torch.no_grad():
            readings = nano.world.textures(now.scene, nano.rows, nano.columns)
        guide = decoder.guide(now.scene, readings, guiding(now.vectors(), decoder), nano.rows, nano.columns)
        picture: Tensor = decoder(latents, guide * guided)
        return picture

    def example(source: NDArray[np.generic], index: Tensor) -> Tensor:
        return torch.from_numpy(np.array(source[index.numpy()])).float()

    for step in run:
        rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
        index = torch.randint(0, count - held, (BATCH_IMAGES,), generator=rng)
        with torch.no_grad():
            latents = nano.autoencoder.encode(example(small, index) / 255)
            latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=rng)
        chance = torch.rand(2, BATCH_IMAGES, 1, 1, 1, generator=rng)
        latents = torch.where(chance[0] < PLAYED_SHARE, example(played, index), latents)
        rates.take(min(1.0, (step + 1) / 50) * max(0.02, 0.5 * (1 + cos(pi * step / steps))))
        for o in opts:
            o.zero_grad(set_to_none=True)
        guided = (chance[1] >= UNGUIDED_SHARE).float()
        loss = image_loss(drawn(index, latents, guided), example(large, index) / 255)
        loss.backward()
        for o in opts:
            o.step()
        if step % 100 == 99 or step + 1 == steps:
            figures: dict[str, list[float]] = {"psnr": [], "played": []}
            with torch.no_grad():
                for i in torch.arange(count - held, count)[:, None]:
                    true, one = example(large, i) / 255, torch.ones(1, 1, 1, 1)
                    latents = nano.autoencoder.encode(example(small, i) / 255)
                    figures["psnr"].append(psnr(drawn(i, latents, one).clamp(0, 1), true))
                    figures["played"].append(psnr(drawn(i, example(played, i), one).clamp(0, 1), true))
            run.log(loss=float(loss.detach()), **{name: float(np.mean(found)) for name, found in figures.items()})
        if run.due():
            run.save({"model": decoder.state_dict(), "optimisers": [o.state_dict() for o in opts]})
    return decoder.eval()
