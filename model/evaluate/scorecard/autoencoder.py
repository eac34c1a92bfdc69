"""How well the autoencoder reconstructs images of scenes that training never drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rich.progress import track

from ...stage.render import render
from ...stage.sample import moments, to_bytes
from ..metrics import psnr
from .row import Row

SEED = 555_000


@torch.inference_mode()
def rows(world: Any, count: int = 24) -> list[Row]:
    """No rows for a world without an autoencoder. The figure is the mean of the images' PSNR, in dB."""
    model = getattr(world, "autoencoder", None)
    if model is None:
        return []
    scene, found = moments(SEED, count), []
    device = next(model.parameters()).device
    for i in track(range(count), "autoencoder", transient=True):
        true = to_bytes(render(scene[i : i + 1], world.spec.height, world.spec.width)).to(device).float() / 255
        found.append(psnr(model.decode(model.encode(true)), true))
    detail = {"pictures": count, "worst": min(found)}
    return [Row("autoencoder: unseen scenes", float(np.mean(found)), 33, unit="dB", detail=detail)]
