"""The memory of a Helios world, and how its next chunk is denoised from it.

Helios (Yuan et al., 2026) denoises chunks of latent frames. Its history is plain latents: a long, a middle and a short
stretch of the past, and always the very first frame, which keeps colours from drifting. Positions are counted within
that window, so a rollout has no end and its memory a constant size. The distilled network goes through a pyramid of
resolutions in a few steps each (pyramidal flow matching, Jin et al., 2024; DMD2, Yin et al., 2024), without guidance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...devices import upload

LONG, MIDDLE, SHORT = 16, 2, 1  # latent frames of the past that the checkpoint was trained with
PAST = LONG + MIDDLE + SHORT
CHUNK_LATENTS = 9  # latent frames drawn at a time
PYRAMID_STAGES = 3  # of the pyramid
IMAGE_NOISE_SHARE = (0.111, 0.135)  # share of noise on an image or video that a world begins with


@dataclass(frozen=True)
class Memory:
    """past: (1, c, PAST, h, w) float32, oldest first, zeros before the beginning. anchor: (1, c, 1, h, w), the first
    frame; None before the first chunk. fresh: no chunk was drawn since the beginning."""

    past: Tensor
    anchor: Tensor | None = None
    fresh: bool = True

    @classmethod
    def empty(cls, channels: int, height: int, width: int, device: torch.device) -> Memory:
        return cls(torch.zeros(1, channels, PAST, height, width, device=device))

    def after(self, chunk: Tensor) -> Memory:
        """(1, c, CHUNK, h, w) -> the memory once that was drawn."""
        past = torch.cat([self.past, chunk.float()], 2)[:, :, -PAST:].clone()
        return Memory(past, chunk[:, :, :1].float().clone() if self.anchor is None else self.anchor, False)


@dataclass(frozen=True)
class StartLatents:
    """Latents with which a world can begin. anchor: (1, c, 1, h, w), the first frame. past: (1, c, n, h, w), the frames
    before: one for an image, whole chunks for a video."""

    anchor: Tensor
    past: Tensor

    def memory(self, empty: Memory, generator: torch.Generator) -> Memory:
        """The memory of a world that begins with these latents, under a little noise, as in training."""
        anchor = _noisy(self.anchor, generator)
        if self.past.shape[2] == 1:
            past = _noisy(self.past, generator)
        else:
            past = torch.cat([_noisy(chunk, generator) for chunk in self.past.split(CHUNK_LATENTS, 2)], 2)
        return Memory(torch.cat([empty.past, past], 2)[:, :, -PAST:].clone(), anchor)


def _noisy(latents: Tensor, generator: torch.Generator) -> Tensor:
    n, (least, most) = latents.shape[2], IMAGE_NOISE_SHARE
    share = (torch.rand(n, generator=generator) * (most - least) + least).view(1, 1, n, 1, 1)
    share, noise = upload([share, torch.randn(latents.shape, generator=generator)], latents.device)
    return share * noise + (1 - share) * latents


def _times(device: torch.device) -> dict[str, Tensor]:
    """Where each frame stands in time: the anchor at 0, then long, middle, short, then the chunk."""
    anchor, long, middle, short, chunk = torch.arange(1 + PAST + CHUNK_LATENTS, device=device).split(
        [1, LONG, MIDDLE, SHORT, CHUNK_LATENTS]
    )
    return {
        "indices_hidden_states": chunk[None],
        "indices_latents_history_short": torch.cat([anchor, short])[None],
        "indices_latents_history_mid": middle[None],
        "indices_latents_history_long": long[None],
    }


def _resized(latents: Tensor, scale: float, mode: str) -> Tensor:
    """Frames of (1, c, n, h, w) resized one by one."""
    _, c, n, h, w = latents.shape
    frames = latents.permute(0, 2, 1, 3, 4).reshape(n, c, h, w)
    frames = F.interpolate(frames, size=(int(h * scale), int(w * scale)), mode=mode)
    return frames.view(1, n, c, *frames.shape[2:]).permute(0, 2, 1, 3, 4)


@lru_cache
def _factor(block: int, gamma: float) -> Tensor:
    """(block, block), the Cholesky factor of 1 on the diagonal and -gamma beside it.

    At gamma 1/3 and a block of 4, which the checkpoint has, that matrix has no inverse: where the pipeline's single
    precision gives up, which it does on CPUs, double does not.
    """
    covariance = torch.eye(block) * (1 + gamma) - torch.ones(block, block) * gamma + torch.eye(block) * 1e-8
    try:
        return torch.linalg.cholesky(covariance)
    except torch.linalg.LinAlgError:
        whole = torch.eye(block).double()
        return torch.linalg.cholesky(whole * (1 + gamma + 1e-8) - gamma).float()


def _block_noise(shape: torch.Size, patch: tuple[int, int, int], gamma: float, generator: torch.Generator) -> Tensor:
    """Noise on the CPU whose values within each patch pull apart from one another by gamma."""
    b, c, n, h, w = shape
    _, ph, pw = patch
    noise = torch.randn(b * c * n * (h // ph) * (w // pw), ph * pw, generator=generator) @ _factor(ph * pw, gamma).T
    noise = noise.view(b, c, n, h // ph, w // pw, ph, pw)
    return noise.permute(0, 1, 2, 3, 5, 4, 6).reshape(shape)


@torch.inference_mode()
def denoise_chunk(pipe: Any, memory: Memory, prompt: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """The next chunk, (1, c, CHUNK, h, w) float32, as diffusers' HeliosPyramidPipeline draws it.

    pipe: that pipeline, distilled. prompt: (1, n, d). steps: of each of the pyramid's stages, doubled while the memory
    is fresh. generator: on the CPU, so that a seed is the same world on every device.
    """
    from diffusers.pipelines.helios.pipeline_helios_pyramid import calculate_shift

    network, scheduler = pipe.transformer, pipe.scheduler
    device, dtype = memory.past.device, network.dtype
    anchor = torch.zeros_like(memory.past[:, :, :1]) if memory.anchor is None else memory.anchor
    long, middle, short = memory.past.split([LONG, MIDDLE, SHORT], 2)
    seen = {
        "latents_history_short": torch.cat([anchor, short], 2).to(dtype),
        "latents_history_mid": middle.to(dtype),
        "latents_history_long": long.to(dtype),
        **_times(device),
    }
    _, c, _, h, w = memory.past.shape
    (latents,) = upload([torch.randn((1, c, CHUNK_LATENTS, h, w), generator=generator)], device)
    for _ in range(PYRAMID_STAGES - 1):
        latents = _resized(latents, 0.5, "bilinear") * 2
    patch, gamma = network.config.patch_size, scheduler.config.gamma
    for stage in range(PYRAMID_STAGES):
        mu = _shift(latents, patch, scheduler, calculate_shift)  # by the patches before they are enlarged
        scheduler.set_timesteps(steps, stage, device=device, mu=mu, is_amplify_first_chunk=memory.fresh)
        if stage:  # what is enlarged is too smooth: noise across each block of four puts the variance right
            latents = _resized(latents, 2, "nearest")
            signal = 1 - scheduler.ori_start_sigmas[stage]
            alpha = 1 / (math.sqrt(1 + 1 / gamma) * (1 - signal) + signal)
            beta = alpha * (1 - signal) / math.sqrt(gamma)
            (noise,) = upload([_block_noise(latents.shape, patch, gamma, generator)], device)
            latents = alpha * latents + beta * noise.to(dtype)
        start, times = latents, scheduler.timesteps
        for i, t in enumerate(times):
            flow = network(
                hidden_states=latents.to(dtype), timestep=t.expand(1).to(torch.int64), encoder_hidden_states=prompt,
                return_dict=False, **seen,
            )[0]  # fmt: skip
            latents = scheduler.step(
                flow, t, latents, generator=generator, return_dict=False, cur_sampling_step=i, dmd_noisy_tensor=start,
                dmd_sigmas=scheduler.sigmas, dmd_timesteps=times, all_timesteps=times,
            )[0]  # fmt: skip
    return latents.float()


def _shift(latents: Tensor, patch: tuple[int, int, int], scheduler: Any, shift: Any) -> float:
    """How far the noise schedule is moved for so many patches."""
    config = scheduler.config
    return shift(
        math.prod(latents.shape[2:]) // math.prod(patch),
        config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5), config.get("max_shift", 1.15),
    )  # fmt: skip
