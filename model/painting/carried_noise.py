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
    """Noise (1, channels, rows, columns) of unit variance on a device."""

    def __init__(self, channels: int, rows: int, columns: int, random: torch.Generator, device: torch.device) -> None:
        """random: of the CPU, so that a seed gives the same noise on every device."""
        self._random, self._device = random, device
        self._size = channels, rows * FINER, columns * FINER
        self.cells = self._fresh()
        self.rest = torch.zeros(rows * FINER, columns * FINER, 2, device=device)  # cells still to move, right and down

    def _fresh(self) -> Tensor:
        return torch.randn(self._size, generator=self._random).to(self._device)

    @property
    def latents(self) -> Tensor:
        """(1, channels, rows, columns)."""
        channels, rows, columns = self._size
        blocks = self.cells.view(channels, rows // FINER, FINER, columns // FINER, FINER)
        return blocks.sum((2, 4))[None] / FINER

    def forget(self, share: float) -> None:
        """Replace a share (0..1) of the variance by new noise."""
        if share > 0:
            self.cells = self.cells * math.sqrt(1 - share) + self._fresh() * math.sqrt(share)

    def move(self, motion: Tensor) -> None:
        """motion (h, w, 2) of the picture, as `Controls.motion`."""
        _, rows, columns = self._size
        scale = torch.tensor([columns, rows], device=self._device, dtype=torch.float32)
        way = sized(motion.to(self._device, torch.float32), rows, columns) * scale
        known = ~way.isnan().any(-1)
        way = torch.where(known[..., None], way, 0.0)
        whole = (way + self.rest).round()  # the rest is taken where a cell arrives: neighbours move nearly alike
        y = torch.arange(rows, device=self._device)[:, None] - whole[..., 1].long()
        x = torch.arange(columns, device=self._device)[None, :] - whole[..., 0].long()
        known = known & (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        source = (y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)).flatten()
        place = torch.arange(rows * columns, device=self._device)
        # Where a thing grows, several cells ask for the same number: one of them gets it.
        owner = torch.full_like(place, -1).scatter_reduce_(0, source, torch.where(known.flatten(), place, -1), "amax")
        kept = known.flatten() & (owner[source] == place)
        moved = self.cells.flatten(1)[:, source]
        self.cells = torch.where(kept, moved, self._fresh().flatten(1)).view(self._size)
        self.rest = torch.where(kept.view(rows, columns, 1), way + self.rest - whole, 0.0)

    def state(self) -> tuple[Tensor, Tensor]:
        """A copy to `restore`."""
        return self.cells.clone(), self.rest.clone()

    def restore(self, state: tuple[Tensor, Tensor]) -> None:
        """state: of noise of the same size. Raises ValueError for another."""
        if state[0].shape != self.cells.shape:
            raise ValueError("this is the state of noise of another size")
        self.cells, self.rest = (part.clone().to(self._device) for part in state)
