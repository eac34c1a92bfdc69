"""Images of any size, cropped and resized to a world's shape."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def cover(images: NDArray[np.uint8] | Tensor, width: int, height: int, device: torch.device) -> Tensor:
    """(n, h, w, 3) uint8 RGB -> (n, 3, height, width) float32 -1..1: the middle of each, filling the shape."""
    given = torch.as_tensor(images).to(device)
    h, w = given.shape[1:3]
    scale = min(h / height, w / width)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
    top, left = (h - rows) // 2, (w - columns) // 2
    cut = given[:, top : top + rows, left : left + columns, :3].permute(0, 3, 1, 2).float()
    return F.interpolate(cut, (height, width), mode="bilinear", antialias=True) / 127.5 - 1
