"""Video latents to frames, one latent frame at a time, by diffusers' causal Wan autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ChunkDecoder:
    """Decodes a chunk one latent frame at a time, to the same frames as `vae.decode` of the whole chunk.

    The convolutions' caches are kept here, not in the autoencoder, so that another thread may encode an image at the
    same time. Tiled decoding has no such caches and is not used.
    """

    def __init__(self, vae: Any) -> None:
        self.vae = vae
        config = vae.config
        shape = (1, config.z_dim, 1, 1, 1)
        self._mean = torch.tensor(config.latents_mean).view(shape).to(vae.device, vae.dtype)
        self._inverse = 1.0 / torch.tensor(config.latents_std).view(shape).to(vae.device, vae.dtype)
        self._features: list[Any] = []
        self.begin()

    def begin(self) -> None:
        """The next latent frame is the first of a chunk: it becomes one frame of video, each further one four."""
        self._features = [None] * self.vae._cached_conv_counts["decoder"]
        self._first = True

    @torch.inference_mode()
    def draw(self, latent: Tensor) -> Tensor:
        """latent (1, channels, 1, h, w), as the world's network makes it -> (n, height, width, 3) uint8 RGB."""
        z = latent.to(self.vae.dtype) / self._inverse + self._mean
        x = self.vae.post_quant_conv(z)
        x = self.vae.decoder(x, feat_cache=self._features, feat_idx=[0], first_chunk=self._first)
        self._first = False
        if self.vae.config.patch_size is not None:
            from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

            x = unpatchify(x, patch_size=self.vae.config.patch_size)
        x = torch.clamp(x, -1.0, 1.0)[0].permute(1, 2, 3, 0)
        return ((x * 0.5 + 0.5) * 255).round().to(torch.uint8)
