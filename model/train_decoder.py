"""Teaches the decoder to draw what the world model really predicts: its latents are softer than the encoder's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .autoencoder import Autoencoder
from .muon import optimisers
from .runlog import Run
from .stage.sample import DT_MIN, moments
from .stage.scene import Scene
from .train_autoencoder import CHUNK, PICTURES_SEED, picture_loss, pictures
from .transformer import Moment, WorldModel

TRUE = 0.3  # share of crops whose latents are the encoder's own: those must stay as sharp as they are


@torch.inference_mode()
def predictions(world: WorldModel, mean: Tensor, std: Tensor, count: int, cells: tuple[int, int]) -> Tensor:
    """(count, c, rows, columns) fp16 latents that the world draws, in one step, for the first cached pictures."""
    out, shape = [], (1, -1, 1, 1)
    for chunk in range(-(-count // CHUNK)):
        scene: Scene = moments(PICTURES_SEED + chunk, CHUNK)
        moment = Moment.of(scene, torch.full((CHUNK,), 1.5 * DT_MIN), world.config.look)
        noise = torch.zeros(CHUNK, 1, world.config.channels, *cells)
        drawn = world(noise, torch.ones(CHUNK, 1), moment)[:, 0]
        out.append((drawn * std.view(shape) + mean.view(shape)).half())
    return torch.cat(out)[:count]


def train(
    folder: Path, model: Autoencoder, world: WorldModel, mean: Tensor, std: Tensor, *, steps: int, count: int,
    pool: int, shape: tuple[int, int], batch: int = 12, crop: tuple[int, int] = (9, 12), seed: int = 0,
) -> Autoencoder:  # fmt: skip
    """Resumes by itself. pool: of the `count` cached pictures so many are drawn. Returns the model, decoder trained."""
    torch.manual_seed(seed)
    data = pictures(folder, count, shape, 1)
    cells = (shape[0] // model.config.factor, shape[1] // model.config.factor)
    soft = predictions(world, mean, std, pool, cells)
    model.encoder.requires_grad_(False)
    opts = optimisers(model.decoder, lr=5e-4, matrix_lr=0.004)
    base = [[g["lr"] for g in o.param_groups] for o in opts]
    run = Run(folder, "decoder", steps)
    saved = run.load()
    if saved:
        model.load_state_dict(saved["model"])
        for o, s in zip(opts, saved["optimisers"], strict=True):
            o.load_state_dict(s)
    h, w, f = min(crop[0], cells[0]), min(crop[1], cells[1]), model.config.factor
    losses = []
    for step in run:
        rng = np.random.default_rng((seed, step))
        true, latent = [], []
        for i in rng.integers(0, pool, batch):
            y, x = int(rng.integers(0, cells[0] - h + 1)), int(rng.integers(0, cells[1] - w + 1))
            true.append(np.array(data[i, :, y * f : (y + h) * f, x * f : (x + w) * f]))
            latent.append(soft[i, :, y : y + h, x : x + w])
        picture = torch.from_numpy(np.stack(true)).float().div_(255).to(memory_format=torch.channels_last)
        z = torch.stack(latent).float()
        own = torch.from_numpy(rng.random(batch) < TRUE)
        with torch.no_grad():
            z = torch.where(own[:, None, None, None], model.encode(picture), z)
        rate = min(1.0, (step + 1) / 30) * max(0.02, 1 - step / steps)
        for o, lrs in zip(opts, base, strict=True):
            for g, lr in zip(o.param_groups, lrs, strict=True):
                g["lr"] = lr * rate
            o.zero_grad(set_to_none=True)
        loss = picture_loss(model.decode(z.contiguous(memory_format=torch.channels_last)), picture)
        loss.backward()
        for o in opts:
            o.step()
        losses.append(float(loss.detach()))
        if step % 50 == 49 or step + 1 == steps:
            run.log(loss=sum(losses) / len(losses))
            losses.clear()
        if run.due():
            run.save({"model": model.state_dict(), "optimisers": [o.state_dict() for o in opts]})
    return model.eval()
