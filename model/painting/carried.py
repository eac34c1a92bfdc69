"""Pictures and motions carried along a motion.

A motion (h, w, 2) says of each pixel the way right and down that it came, in shares of the picture's width and height;
NaN where nothing was there before.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sources(motion: Tensor) -> Tensor:
    """(h, w, 2): where each pixel came from, in shares of the picture; NaN where nothing was there."""
    rows, columns = motion.shape[:2]
    y = (torch.arange(rows, device=motion.device) + 0.5) / rows
    x = (torch.arange(columns, device=motion.device) + 0.5) / columns
    return torch.stack([x[None, :].expand(rows, columns), y[:, None].expand(rows, columns)], -1) - motion


def sized(motion: Tensor, rows: int, columns: int) -> Tensor:
    """The same motion for a picture of another size; a pixel beside one that was not there was not there either."""
    if motion.shape[:2] == (rows, columns):
        return motion
    return F.interpolate(motion.permute(2, 0, 1)[None], (rows, columns), mode="bilinear")[0].permute(1, 2, 0)


def carried(image: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """image (1, c, h, w) after the motion, and (h, w) whether each pixel was there before. What was not there shows
    what was next to its place."""
    motion = sized(motion, *image.shape[2:])
    there = ~motion.isnan().any(-1)
    grid = sources(motion.nan_to_num(0.0)) * 2 - 1
    moved = F.grid_sample(
        image, grid[None].to(image.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    return moved, there


def composed(first: Tensor, then: Tensor) -> Tensor:
    """One motion in place of two, the second of which follows the first; of the second's size."""
    first = sized(first, *then.shape[:2])
    at = sources(then.nan_to_num(0.0)) * 2 - 1
    before = F.grid_sample(
        first.permute(2, 0, 1)[None], at[None], mode="nearest", padding_mode="border", align_corners=False
    )[0].permute(1, 2, 0)
    total = before + then
    outside = (sources(total.nan_to_num(0.0)) - 0.5).abs().amax(-1) > 0.5
    return total.masked_fill(outside[..., None], torch.nan)
