"""Moving an image or its latents: by a camera, or along a motion that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..painting.crop import window

ZOOM, TURN, STRAFE = 0.7, 0.5, 0.25  # e-folds, and shares of the image, a second
KNOWN = 0.5  # share of the pixels beneath a latent whose motion has to be known


def _grid(image: Tensor, scale: float, right: float, down: float) -> Tensor:
    """(n, h, w, 2), for `grid_sample`: a scaling about the middle, then a shift in halves of the image. It is made on
    the device, so that nothing is sent there."""
    theta = torch.zeros((image.shape[0], 2, 3), device=image.device, dtype=image.dtype)
    for row, column, value in ((0, 0, scale), (1, 1, scale), (0, 2, right), (1, 2, down)):
        theta[:, row, column].fill_(value)
    return F.affine_grid(theta, list(image.shape), align_corners=False)


def moved(image: Tensor, camera: Mapping[str, float], dt: float) -> Tensor:
    """The image (n, c, h, w) after `dt` seconds of camera motion: forward and zoom magnify it, yaw and strafe to the
    right shift the scene to the left, pitch upwards shifts it down. Beyond its edges it is mirrored."""
    axis = {name: float(camera.get(name, 0.0)) * dt for name in ("strafe", "forward", "yaw", "pitch", "zoom")}
    if not any(axis.values()):
        return image
    scale = math.exp(-ZOOM * (axis["forward"] + axis["zoom"]))
    right, up = TURN * axis["yaw"] + STRAFE * axis["strafe"], TURN * axis["pitch"]
    grid = _grid(image, scale, 2 * right, -2 * up)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def motion_of(motion: Tensor, rows: int, columns: int, width: int, height: int) -> tuple[Tensor, Tensor]:
    """A `Controls.motion` (h, w, 2) in the shape width:height, cropped as its image is by `cover`.

    Returns the motion (1, 2, rows, columns) in shares of that shape, and where it is known, (1, 1, rows, columns) bool.
    """
    h, w = motion.shape[:2]
    top, left, cut_rows, cut_columns = window(h, w, width, height)
    cut = motion[top : top + cut_rows, left : left + cut_columns].permute(2, 0, 1)[None]
    there = (cut == cut).all(1, keepdim=True)  # NaN alone differs from itself
    parts = torch.cat([torch.where(there, cut, torch.zeros_like(cut)), there.to(cut.dtype)], 1)
    parts = F.interpolate(parts, (rows, columns), mode="bilinear", antialias=True)
    share = parts[:, 2:]
    moved = parts[:, :2] / share.clamp(min=1e-6)
    return torch.cat([moved[:, :1] * (w / cut_columns), moved[:, 1:] * (h / cut_rows)], 1), share >= KNOWN


def depth_of(depth: Tensor, width: int, height: int) -> Tensor:
    """A `Controls.depth` (h, w) as an image (1, 3, height, width) 0..1, cropped as its picture is by `cover`."""
    top, left, rows, columns = window(depth.shape[0], depth.shape[1], width, height)
    cut = depth[None, None, top : top + rows, left : left + columns]
    return F.interpolate(cut, (height, width), mode="bilinear", antialias=True).clamp(0, 1).expand(1, 3, height, width)


def carried(image: Tensor, motion: Tensor, known: Tensor, behind: Tensor) -> Tensor:
    """The image (1, c, h, w) moved along `motion` (1, 2, h, w), in shares of its width and height by which each place
    has come right and down. Where that is not known, or comes from beyond the edges, `behind` shows."""
    grid = _grid(image, 1.0, 0.0, 0.0) - 2 * motion.permute(0, 2, 3, 1)
    came = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1).all(-1)[:, None]
    return torch.where(known & inside, came, behind)
