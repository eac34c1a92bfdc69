"""The figure's matte: how much of each pixel is the figure's, from the pose in which the world draws it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..stage.figure import FEET, TALL, distance, skeleton
from ..stage.geometry import screen
from ..stage.vocabulary import FIGURES

GRID_PX = 4  # pixels between the places where the distance to the figure is worked out: it is smooth, its edge is not
EDGE_PX = 1.5  # pixels that the edge is wide, as the world draws it


def matte(figure: Tensor, phase: Tensor, height: int, width: int) -> Tensor:
    """figure: (n, k) weights of the acts. phase: (n,) 0..1. (n, height, width) uint8, 255 where all is figure."""
    xs, ys = screen(height // GRID_PX, width // GRID_PX, figure.device)
    far = distance(xs / TALL, (ys - FEET) / TALL, *skeleton(figure, phase)) * TALL
    pixels = F.interpolate(far[:, None], (height, width), mode="bilinear")[:, 0] * (min(height, width) / 2)
    there = 1 - figure[:, FIGURES.index("none")]
    alpha = (0.5 - pixels / EDGE_PX).clamp_(0, 1) * there[:, None, None]
    return (alpha * 255 + 0.5).to(torch.uint8)
