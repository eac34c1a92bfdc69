"""A live picture for worlds that draw from one image to the next."""

from typing import Any

import numpy as np
import torch
from worldjockey.model import Controls

DT = 1 / 20


def smooth(size: int, seed: int = 0) -> np.ndarray:
    """Smooth colours, (size, size, 3) uint8."""
    coarse = torch.rand((1, 3, 4, 4), generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return (fine[0] * 255).byte().permute(1, 2, 0).numpy()


def live(tokens: np.ndarray, seen: np.ndarray, strength: float, **more: Any) -> Controls:
    """Controls with that picture."""
    return Controls(tokens, dt=DT, live=seen, strength=strength, **more)
