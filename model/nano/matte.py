"""The figure's matte: how much of each pixel is the figure's, from the pose in which the world draws it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..stage.figure import FEET, TALL, distance, radii
from ..stage.geometry import screen

GRID_PX = 4  # pixels between the places where the distance to the figure is worked out: it is smooth, its edge is not
EDGE_PX = 1.5  # pixels that the edge is wide, as the world draws it


def matte(ends: Tensor, there: float, height: int, width: int) -> Tensor:
    """ends: (n, bones, 4) of the figure's `skeleton`. there: 0..1, how much of the figure is shown. (n, height, width)
    uint8, 255 where all is figure."""
    xs, ys = screen(height // GRID_PX, width // GRID_PX, ends.device)
    far = distance(xs / TALL, (ys - FEET) / TALL, ends, radii(ends)) * TALL
    pixels = F.interpolate(far[:, None], (height, width), mode="bilinear")[:, 0] * (min(height, width) / 2)
    alpha = (0.5 - pixels / EDGE_PX).clamp_(0, 1) * there
    return (alpha * 255 + 0.5).to(torch.uint8)
