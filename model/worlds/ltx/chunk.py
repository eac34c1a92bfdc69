"""One chunk of LTX-2: frames and their sound, continued from the frames before, by diffusers' own pipeline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FPS = 24.0
CHUNK_FRAMES = 33  # drawn at a time: 1 and a multiple of 8, as the autoencoder has them
PAST_FRAMES = 9  # of which so many are the last of the chunk before, and are not shown again
FADE_S = 0.04  # over which one chunk's sound passes into the next's
STEPS = 4  # at which the whole schedule of the distillation is used


@dataclass(frozen=True)
class Memory:
    """frames: (PAST_FRAMES, 3, h, w) uint8, the last ones. sound: (2, samples) float32, how the last chunk's sound
    would have continued."""

    frames: Tensor
    sound: Tensor


@dataclass(frozen=True)
class Chunk:
    """frames: (n, h, w, 3) uint8. sound: (2, samples) float32, as long as they are. memory: for the next chunk."""

    frames: Tensor
    sound: Tensor
    memory: Memory


def schedule(steps: int) -> list[float]:
    """Noise levels for 1 to 4 `steps`: two a step. 4 is the schedule of the distillation; fewer leave out levels that
    are close to pure noise."""
    from diffusers.pipelines.ltx2.utils import DISTILLED_SIGMA_VALUES

    kept = 2 * min(max(steps, 1), STEPS) - 1
    return [DISTILLED_SIGMA_VALUES[0], *DISTILLED_SIGMA_VALUES[-kept:]]


def audio_latents(pipe: Any) -> int:
    """Latents of sound that a chunk needs to reach beyond its frames by the fade.

    The pipeline's own count is rounded, and its decoder loses three frames of the spectrogram at the beginning: a chunk
    of a second would fall silent for its last hundredth.
    """
    ratio = pipe.audio_vae_temporal_compression_ratio
    spectra = (CHUNK_FRAMES / FPS + FADE_S) * pipe.audio_sampling_rate / pipe.audio_hop_length
    return math.ceil((spectra + ratio - 1) / ratio)


@torch.inference_mode()
def draw_chunk(
    pipe: Any, memory: Memory | None, text: Tensor, size: tuple[int, int], steps: int, generator: torch.Generator
) -> Chunk:
    """The next chunk; without a memory, the first.

    pipe: an LTX2ConditionPipeline with `ConnectedText`. text: (rows, d). size: width and height. generator: on the CPU,
    so that a seed is the same world on every device. The checkpoint is distilled: it has no guidance to compute.
    """
    from diffusers.pipelines.ltx2 import LTX2VideoCondition

    device, rate = text.device, pipe.vocoder.config.output_sampling_rate
    bins = pipe.audio_mel_bins // pipe.audio_vae_mel_compression_ratio
    silence = torch.zeros(1, pipe.audio_latent_channels, audio_latents(pipe), bins, device=device)
    video, audio = pipe(
        conditions=None if memory is None else LTX2VideoCondition(frames=memory.frames),
        prompt_embeds=text[None], prompt_attention_mask=text.new_ones(1, len(text)), width=size[0], height=size[1],
        num_frames=CHUNK_FRAMES, frame_rate=FPS, sigmas=schedule(steps), guidance_scale=1.0, audio_guidance_scale=1.0,
        stg_scale=0.0, audio_stg_scale=0.0, modality_scale=1.0, audio_modality_scale=1.0, guidance_rescale=0.0,
        audio_guidance_rescale=0.0, spatio_temporal_guidance_blocks=None, generator=generator, audio_latents=silence,
        output_type="pt", return_dict=False,
    )  # fmt: skip
    frames = (video[0].float() * 255).round().to(torch.uint8)
    shown = 0 if memory is None else PAST_FRAMES
    begin, end, fade = (round(s * rate) for s in (shown / FPS, CHUNK_FRAMES / FPS, FADE_S))
    sound = audio[0].float()
    heard = sound[:, begin:end]
    if memory is not None:
        share = torch.linspace(0, 1, fade, device=device)
        heard = torch.cat([memory.sound.lerp(heard[:, :fade], share), heard[:, fade:]], 1)
    after = Memory(frames[-PAST_FRAMES:].clone(), sound[:, end : end + fade].clone())
    return Chunk(frames[shown:].permute(0, 2, 3, 1), heard, after)
