"""Images of any size, cropped and resized to a world's shape."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..devices import upload


def window(h: int, w: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of the middle of an image of h x w that has the shape width:height."""
    scale = min(h / height, w / width)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
    return (h - rows) // 2, (w - columns) // 2, rows, columns


def cover(images: NDArray[np.uint8] | Tensor, width: int, height: int, device: torch.device) -> Tensor:
    """(n, h, w, 3) uint8 RGB -> (n, 3, height, width) float32 -1..1: the middle of each, filling the shape."""
    (given,) = upload([torch.as_tensor(images)], device)
    top, left, rows, columns = window(given.shape[1], given.shape[2], width, height)
    cut = given[:, top : top + rows, left : left + columns, :3].permute(0, 3, 1, 2).float()
    return F.interpolate(cut, (height, width), mode="bilinear", antialias=True) / 127.5 - 1
