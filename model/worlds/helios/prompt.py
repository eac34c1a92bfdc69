"""Prompts for Helios: text as UMT5 embeddings, and the images and clips that a world begins with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...painting.crop import cover
from ...spec import Array
from ..token_words import pieces_of
from .memory import CHUNK_LATENTS, PAST, StartLatents

CPU = torch.device("cpu")  # where images wait for the autoencoder: a clip is large
SHARED_GPU_BYTES = 48e9  # bytes that a GPU needs for the network, its work and the 11 GB of the text encoder


@torch.inference_mode()
def encode_text(pipe: Any, text: str, rows: int) -> tuple[Array, tuple[str, ...], Array]:
    """values (rows, d), zeros after the text's last piece; its words; and (words, rows), 1 where a row is a word's.

    The same as the first rows of the pipeline's `encode_prompt`: pieces beyond `rows` are not read.
    """
    from diffusers.pipelines.helios.pipeline_helios_pyramid import prompt_clean

    text = prompt_clean(text)
    pieces = pipe.tokenizer(text, truncation=True, max_length=rows, return_offsets_mapping=True)
    encoder = pipe.text_encoder
    ids, mask = (torch.tensor([pieces[k]], device=encoder.device) for k in ("input_ids", "attention_mask"))
    hidden = encoder(ids, mask).last_hidden_state[0].float().cpu().numpy()
    values = np.zeros((rows, hidden.shape[1]), np.float32)
    values[: len(hidden)] = hidden
    return values, *pieces_of(text, pieces["offset_mapping"], rows)


@torch.inference_mode()
def encode_images(pipe: Any, images: NDArray[np.uint8], width: int, height: int, device: torch.device) -> StartLatents:
    """An image (1, h, w, 3) or a clip (n, h, w, 3) at the world's rate, as the latents with which a world begins.

    Of a long clip the first frame and the end are used, as far as the memory reaches. Before a short clip its first
    frame is repeated.
    The same images always give the same latents.
    """
    vae = pipe.vae
    shape = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape).to(device, vae.dtype)
    inverse = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(device, vae.dtype)
    generator = torch.Generator().manual_seed(0)
    common = {
        "num_latent_frames_per_chunk": CHUNK_LATENTS,
        "dtype": torch.float32,
        "device": device,
        "generator": generator,
    }
    if len(images) == 1:
        return StartLatents(*pipe.prepare_image_latents(cover(images, width, height, CPU), mean, inverse, **common))
    window = (CHUNK_LATENTS - 1) * pipe.vae_scale_factor_temporal + 1
    whole = -(-PAST // CHUNK_LATENTS) * window
    if len(images) < window:
        images = np.concatenate([np.repeat(images[:1], window - len(images), 0), images])
    elif len(images) > whole:
        images = np.concatenate([images[:1], images[-whole:]])
    clip = cover(images, width, height, CPU).transpose(0, 1)[None]
    return StartLatents(*pipe.prepare_video_latents(clip, mean, inverse, **common))
