"""Reads an image prompt: which place, light, weather, tint and mood an image shows, and which world's look.

Its input is the autoencoder's latents and its output the same tokens as those of a text, so that pads, mixes and
transitions treat both alike.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..stage.scene import SEED_DIM
from ..stage.vocabulary import ATTRIBUTES
from .pooling import WindowPool


class ImageReader(nn.Module):
    """(n, c, rows, columns) normalised latents -> attribute -> (n, values) log-odds, and "seed" -> (n, 4)."""

    def __init__(self, channels: int, width: int = 96) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.SiLU(),
            WindowPool((3, 4)), nn.Flatten(),
        )  # fmt: skip
        sizes = {**{k: len(v) for k, v in ATTRIBUTES.items()}, "seed": SEED_DIM}
        self.heads = nn.ModuleDict({k: nn.Linear(width * 12, size) for k, size in sizes.items()})

    def forward(self, latent: Tensor) -> dict[str, Tensor]:
        f = self.body(latent)
        return {k: head(f) for k, head in self.heads.items()}
