"""Images to latents and back: a small convolutional autoencoder, 16x down, without norms (fast on a CPU)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELL = 4  # pixels across that the last convolution draws, and the first one reads, at once


@dataclass(frozen=True)
class AutoencoderConfig:
    channels: int = 32  # of a latent
    widths: tuple[int, int, int] = (40, 80, 160)  # at 1/4, 1/8 and 1/16 of the image
    blocks: tuple[int, int, int] = (1, 1, 2)
    noise: float = 0.1  # added to latents in training, so that the decoder forgives the world model

    @property
    def factor(self) -> int:
        return 16


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.silu(self.a(F.silu(x))))


class Autoencoder(nn.Module):
    """encode: (n, 3, h, w) in 0..1 -> latents (n, c, h/16, w/16), about -3..3. decode: the way back."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        w4, w8, w16 = config.widths
        b4, b8, b16 = config.blocks

        def stack(width: int, count: int) -> list[nn.Module]:
            return [Residual(width) for _ in range(count)]

        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(CELL), nn.Conv2d(3 * CELL**2, w4, 3, padding=1), *stack(w4, b4),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * w4, w8, 1), *stack(w8, b8),
            nn.PixelUnshuffle(2), nn.Conv2d(4 * w8, w16, 1), *stack(w16, b16),
            nn.SiLU(), nn.Conv2d(w16, config.channels, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(config.channels, w16, 3, padding=1), *stack(w16, b16),
            nn.Conv2d(w16, 4 * w8, 1), nn.PixelShuffle(2), *stack(w8, b8),
            nn.Conv2d(w8, 4 * w4, 1), nn.PixelShuffle(2), *stack(w4, b4),
            nn.SiLU(), nn.Conv2d(w4, 3 * CELL**2, 3, padding=1), nn.PixelShuffle(CELL),
        )  # fmt: skip

    def encode(self, image: Tensor) -> Tensor:
        z = self.encoder(image * 2 - 1)
        return 3 * torch.tanh(z / 3)

    def decode(self, latent: Tensor) -> Tensor:
        """Not clamped: in training the loss wants the overshoot."""
        return decode(self.decoder, latent)

    def features(self, latent: Tensor) -> Tensor:
        """(n, channels, h / CELL, w / CELL): what the last convolution of `decode` takes."""
        found: Tensor = self.decoder[:-2](latent)
        return found

    @property
    def end(self) -> nn.Conv2d:
        """The last convolution of `decode`, before its pixels are shuffled."""
        found = self.decoder[-2]
        assert isinstance(found, nn.Conv2d)
        return found


def decode(decoder: nn.Module, latent: Tensor) -> Tensor:
    """Latents -> images (n, 3, h, w) by a decoder alone, as `train.adversarial` finetunes it."""
    return decoder(latent) * 0.5 + 0.5
