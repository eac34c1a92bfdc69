"""Video to video: a live frame inside a world, in latents."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LIGHT_KERNEL = 9  # latents across over which light is averaged: about a quarter of the frame's width


def relit(drawn: Tensor, live: Tensor, strength: float) -> Tensor:
    """Latents (n, c, rows, columns), each normalised -> as many. 0 is `drawn`, 1 is `live`.

    Up to 0.5 the objects of the live frame appear, lit and coloured as the world is there; from then on its own light
    appears too. A plain blend shows two frames through each other; and the network draws what its conditioning puts
    where, however little noise is put on the live frame.
    """
    if strength <= 0:
        return drawn
    lit = live - _light(live) + _light(drawn)
    return torch.lerp(drawn, torch.lerp(lit, live, max(2 * strength - 1, 0.0)), min(2 * strength, 1.0))


def _light(latent: Tensor) -> Tensor:
    return F.avg_pool2d(latent, LIGHT_KERNEL, 1, LIGHT_KERNEL // 2, count_include_pad=False)
