"""The mean and the deviation of each channel of latents, which are their colours and their contrast.

A world that continues from its own last frame adds a little to both at every frame. Holding them within a band around
those of one good frame stops that, and leaves the picture alone as long as it stays within.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

MEAN_BAND = 0.4  # by which a channel's mean may leave the reference, in its deviations
DEVIATION_BAND = 1.2  # factor by which its deviation may


@dataclass(frozen=True)
class LatentStatistics:
    """mean, deviation: (n, c, 1, 1)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> LatentStatistics:
        """latents: (n, c, h, w)."""
        return cls(latents.mean((2, 3), keepdim=True), latents.std((2, 3), keepdim=True).clamp(min=1e-4))

    def hold(self, latents: Tensor, weight: float = 1.0) -> Tensor:
        """The latents, brought back into the band around this mean and this deviation. weight: 0 leaves them."""
        now, band = LatentStatistics.of(latents), MEAN_BAND * self.deviation
        mean = now.mean.clamp(self.mean - band, self.mean + band)
        deviation = now.deviation.clamp(self.deviation / DEVIATION_BAND, self.deviation * DEVIATION_BAND)
        return latents.lerp((latents - now.mean) * (deviation / now.deviation) + mean, weight)
