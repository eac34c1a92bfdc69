"""Noise that moves with a picture, so that what is painted from it stays on the things and not on the screen.

The noise of a diffusion model must stay white and of unit variance, which a bilinear warp destroys. Here each number is
moved as a whole, on a grid FINER times finer than the latents, whose blocks are summed: a number is used at most once,
and what nothing moved to is drawn anew (the discrete form of the noise warping of Chang et al., "How I Warped Your
Noise", 2024). What is lost by moving in whole cells is remembered for the next motion.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .carried import sized

FINER = 4  # cells of noise across a latent


class CarriedNoise:
    """Noise (1, channels, rows, columns) of unit variance, on the host; cells when it has moved."""

    def __init__(self, channels: int, rows: int, columns: int, random: torch.Generator) -> None:
        self._random = random
        self._shape, self._size = (channels, rows, columns), (channels, rows * FINER, columns * FINER)
        self._whole = self._fresh(self._shape)
        self._cells: Tensor | None = None
        self._rest = torch.zeros(*self._size[1:], 2)  # cells still to move, right and down

    def _fresh(self, size: tuple[int, ...]) -> Tensor:
        return torch.randn(size, generator=self._random)

    def _blocks(self, cells: Tensor) -> Tensor:
        """(channels, rows, FINER, columns, FINER)."""
        channels, rows, columns = self._shape
        return cells.view(channels, rows, FINER, columns, FINER)

    @property
    def latents(self) -> Tensor:
        """(1, channels, rows, columns)."""
        if self._cells is None:
            return self._whole[None]
        return self._blocks(self._cells).sum((2, 4))[None] / FINER

    def forget(self, share: float) -> None:
        """Replace a share (0..1) of the variance by new noise."""
        kept, new = math.sqrt(1 - share), math.sqrt(share)
        if self._cells is None:
            self._whole = self._whole * kept + self._fresh(self._shape) * new
        else:
            self._cells = self._cells * kept + self._fresh(self._size) * new

    def move(self, motion: Tensor) -> None:
        """motion (h, w, 2) of the picture, as `Controls.motion`."""
        cells = self._divided() if self._cells is None else self._cells
        _, rows, columns = self._size
        way = sized(motion.float(), rows, columns) * torch.tensor([columns, rows])
        known = ~way.isnan().any(-1)
        way = torch.where(known[..., None], way, 0.0) + self._rest  # the rest of where a cell arrives: neighbours agree
        whole = way.round()
        y = torch.arange(rows)[:, None] - whole[..., 1].long()
        x = torch.arange(columns)[None, :] - whole[..., 0].long()
        known = (known & (x >= 0) & (x < columns) & (y >= 0) & (y < rows)).flatten()
        source = (y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)).flatten()
        place = torch.arange(rows * columns)
        # Where a thing grows, several cells ask for the same number: one of them gets it.
        asked = torch.full_like(place, -1).scatter_reduce_(0, source, torch.where(known, place, -1), "amax")
        kept = known & (asked[source] == place)
        moved = torch.where(kept, cells.flatten(1)[:, source], self._fresh(self._size).flatten(1))
        self._cells = moved.view(self._size)
        self._rest = torch.where(kept.view(rows, columns, 1), way - whole, 0.0)

    def _divided(self) -> Tensor:
        """Cells of white noise whose blocks sum up to the latents."""
        cells = self._blocks(self._fresh(self._size))
        mean = cells.mean((2, 4), keepdim=True)
        return (cells - mean + self._whole[:, :, None, :, None] / FINER).reshape(self._size)

    def state(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """To `restore`; its tensors are never written to."""
        return self._whole, self._cells, self._rest

    def restore(self, state: tuple[Tensor, Tensor | None, Tensor]) -> None:
        """state: of noise of the same size. Raises ValueError for another."""
        if state[0].shape != self._whole.shape:
            raise ValueError("this is the state of noise of another size")
        self._whole, self._cells, self._rest = state
