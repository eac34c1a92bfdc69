"""Image and sound prompts as tokens beside those of the text."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..spec import SOUND_STEPS, Array
from ..stage.scene import SEED_DIM
from ..stage.vocabulary import ATTRIBUTES, WIDTH
from .autoencoder import Autoencoder
from .image_reader import ImageReader

LOOK, SOUND = len(ATTRIBUTES), len(ATTRIBUTES) + 1  # rows after those of the attributes
TOKENS = SOUND + 1
SILENCE_RMS = 0.02  # below it a sound is silence
READER_SIZE = (288, 512)  # height and width to which an image is resized
assert WIDTH >= SOUND_STEPS
assert WIDTH > SEED_DIM


@torch.inference_mode()
def encode_image(image: NDArray[np.uint8], autoencoder: Autoencoder, reader: ImageReader, mean: torch.Tensor,
            std: torch.Tensor) -> Array:  # fmt: skip
    """(h, w, 3) uint8 RGB -> (8, 16): a row for each attribute except the figure, and the row of its look.

    Raises ValueError for an array of any other shape.
    """
    if image.ndim != 3 or image.shape[-1] < 3 or 0 in image.shape:
        raise ValueError(f"an image prompt is (height, width, 3) RGB, not {image.shape}")
    x = torch.from_numpy(np.ascontiguousarray(image[..., :3])).permute(2, 0, 1)[None].float() / 255
    h, w = x.shape[-2:]
    keep_h, keep_w = (
        min(h, w * READER_SIZE[0] // READER_SIZE[1] or 1),
        min(w, h * READER_SIZE[1] // READER_SIZE[0] or 1),
    )
    top, left = (h - keep_h) // 2, (w - keep_w) // 2
    x = F.interpolate(x[..., top : top + keep_h, left : left + keep_w], READER_SIZE, mode="bilinear", antialias=True)
    latent = (autoencoder.encode(x.to(mean.device)) - mean) / std
    predicted = reader(latent.cpu())
    values = np.zeros((TOKENS, WIDTH), np.float32)
    for i, k in enumerate(ATTRIBUTES):
        if k != "figure":
            values[i, : predicted[k].shape[-1]] = predicted[k][0].softmax(-1).numpy()
    values[LOOK, :SEED_DIM] = predicted["seed"][0].clamp(-1, 1).numpy()
    values[LOOK, SEED_DIM] = 1.0
    return values


def encode_sound(sound: Array, rate: int) -> Array:
    """(n,) mono -> (16,) levels 0..1 of the first second in sixteenths; silence is zeros.

    Raises ValueError for an array of any other shape.
    """
    mono = np.asarray(sound, np.float32)
    if mono.ndim != 1 or rate <= 0:
        raise ValueError("a sound prompt is mono, (samples,), with a positive rate")
    mono = np.nan_to_num(mono[: int(rate)])
    if len(mono) < SOUND_STEPS:
        return np.zeros(WIDTH, np.float32)
    whole = np.resize(mono, int(rate)) if len(mono) < rate else mono  # a shorter one is looped
    rms = np.array([np.sqrt(np.mean(np.square(c))) for c in np.array_split(whole, SOUND_STEPS)], np.float32)
    loud = float(rms.max())
    out = np.zeros(WIDTH, np.float32)
    out[:SOUND_STEPS] = rms / loud if loud > SILENCE_RMS else 0.0
    return out


def pulse(loop: Array, seconds: float) -> Array:
    """(16,) loop, world time -> (4,) level, bass, treble, onset now."""
    at = int(seconds * SOUND_STEPS) % SOUND_STEPS
    now, before = max(float(loop[at]), 0.0), max(float(loop[at - 1 if at else SOUND_STEPS - 1]), 0.0)
    return np.array([now, now, 0.6 * now, max(0.0, now - before - 0.25)], np.float32)
