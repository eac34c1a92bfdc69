"""Figures that training and the scorecard share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..nano.text_encoder import TextEncoder
from ..stage.captions import caption
from ..stage.vocabulary import ATTRIBUTES


def psnr(out: Tensor, true: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in 0..1."""
    return float(-10 * torch.log10(F.mse_loss(out.clamp(0, 1), true)))


def caption_accuracy(model: TextEncoder, count: int = 500, seed: int = 99, held_out: bool = True) -> dict[str, float]:
    """Attribute -> share of captions whose value the encoder reads correctly, over those that mention it."""
    rng = np.random.default_rng(seed)
    hit = {k: [0, 0] for k in ATTRIBUTES}
    for _ in range(count):
        text, values = caption(rng, held_out)
        tokens = model.encode(text).values
        for i, k in enumerate(ATTRIBUTES):
            if values[k] >= 0:
                hit[k][0] += int(tokens[i].argmax() == values[k])
                hit[k][1] += 1
    return {k: a / max(b, 1) for k, (a, b) in hit.items()}
