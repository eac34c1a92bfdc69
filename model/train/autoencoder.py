"""Trains the autoencoder on random moments of the stage."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from math import cos, pi
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..evaluate.metrics import psnr
from ..nano.autoencoder import Autoencoder, AutoencoderConfig
from .muon import Rates, optimisers
from .run import Run

CHUNK_FRAMES = 16
IMAGES_SEED = 7_000_000


def _paint(path: str, shape: tuple[int, ...], chunk: int) -> int:
    from ..stage.render import render
    from ..stage.sample import moments, to_bytes

    torch.set_num_threads(1)
    out = np.lib.format.open_memmap(path, mode="r+")
    start = chunk * CHUNK_FRAMES
    scene = moments(IMAGES_SEED + chunk, min(CHUNK_FRAMES, shape[0] - start))
    for i in range(len(scene)):
        out[start + i] = to_bytes(render(scene[i : i + 1], shape[2], shape[3]))[0].numpy()
    return chunk


def stage_images(folder: Path, count: int, shape: tuple[int, int], workers: int) -> np.ndarray:
    """(count, 3, height, width) uint8 images of random moments of the stage, drawn once and kept on disk."""
    path = folder / f"moments-{count}-{shape[0]}x{shape[1]}.npy"
    whole = (count, 3, *shape)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tmp = path.with_suffix(".part.npy")
        np.lib.format.open_memmap(tmp, mode="w+", dtype=np.uint8, shape=whole).flush()
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(_paint, str(tmp), whole, c) for c in range(-(-count // CHUNK_FRAMES))]
            for i, job in enumerate(jobs):
                job.result()
                if i % 20 == 0:
                    print(f"stage {i * CHUNK_FRAMES}/{count} images", flush=True)
        tmp.rename(path)
    return np.load(path, mmap_mode="r")


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def image_loss(out: Tensor, true: Tensor) -> Tensor:
    """L1 of the image and of its gradients, which sharpens edges."""
    gradient = sum((F.l1_loss(a, b) for a, b in zip(edges(out), edges(true), strict=True)), torch.zeros(()))
    return F.l1_loss(out, true) + 1.5 * gradient


def train(
    folder: Path, config: AutoencoderConfig, *, steps: int, count: int, shape: tuple[int, int],
    crop: tuple[int, int] = (144, 192), batch: int = 8, workers: int = 2, seed: int = 0,
) -> Autoencoder:  # fmt: skip
    """Resumes from its checkpoint. Writes folder/autoencoder.pt and .json."""
    torch.manual_seed(seed)
    data = stage_images(folder, count, shape, workers)
    held = torch.from_numpy(np.array(data[-24:])).float() / 255
    model = Autoencoder(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    opts = optimisers(model, lr=2e-3, matrix_lr=0.02)
    rates = Rates(opts)
    run = Run(folder, "autoencoder", steps)
    saved = run.load()
    if saved:
        model.load_state_dict(saved["model"])
        for o, s in zip(opts, saved["optimisers"], strict=True):
            o.load_state_dict(s)
    for step in run:
        rng = np.random.default_rng((seed, step))
        ch, cw = min(crop[0], shape[0]), min(crop[1], shape[1])
        picks = []
        for i in rng.integers(0, count - 24, batch):
            y, x = rng.integers(0, shape[0] - ch + 1), rng.integers(0, shape[1] - cw + 1)
            picks.append(np.array(data[i, :, y : y + ch, x : x + cw]))
        true = torch.from_numpy(np.stack(picks)).float().div_(255).to(memory_format=torch.channels_last)
        rates.take(min(1.0, (step + 1) / 100) * max(0.02, 0.5 * (1 + cos(pi * step / steps))))
        for o in opts:
            o.zero_grad(set_to_none=True)
        z = model.encode(true)
        out = model.decode(z + config.noise * torch.randn_like(z))
        loss = image_loss(out, true)
        loss.backward()
        for o in opts:
            o.step()
        if step % 100 == 99 or step + 1 == steps:
            with torch.no_grad():
                figures = [psnr(model.decode(model.encode(h[None])), h[None]) for h in held]
            run.log(loss=float(loss.detach()), psnr=float(np.mean(figures)), latent_std=float(z.detach().std()))
        if run.due():
            run.save({"model": model.state_dict(), "optimisers": [o.state_dict() for o in opts]})
    return model.eval()
