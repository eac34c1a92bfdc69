"""Trains the text encoder on captions of the stage."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..nano.lexicon import lexicon, likeness
from ..nano.text_encoder import NO_MENTION, PIECE_DIM, VECTOR, TextConfig, TextEncoder, vectors_of, words_of
from ..stage.captions import caption, taught
from ..stage.vocabulary import ATTRIBUTES, WIDTH

NOISE_LENGTH = 0.4  # length of the noise on a word's pieces, and on its meaning, in training: neighbours mean the same
DROPOUT_SHARE = 0.1  # share of words that lose their pieces in training, and of words that lose their meaning
UNRELATED_SHARE = 0.06  # share of the padding behind a caption that is filled with words that mean nothing here
UNRELATED_COSINE = 0.38  # the largest cosine of such a word with any training word


def shares(evidence: Tensor) -> Tensor:
    """(b, words, 6, 16) -> (b, 6, 17): probability of each value, and last of no mention."""
    e = evidence.sum(1)
    e = torch.cat([e, torch.full_like(e[..., :1], NO_MENTION)], -1)
    return e / e.sum(-1, keepdim=True)


@lru_cache(maxsize=1)
def _unrelated_words() -> tuple[str, ...]:
    """Words of the language that are similar to none of the training words."""
    index, rows = lexicon()
    known = vectors_of(tuple(sorted({w for phrase in taught() for w in words_of(phrase)})))[:, PIECE_DIM:]
    near = likeness(rows, known)
    return tuple(w for w, i in index.items() if near[i] < UNRELATED_COSINE)


def _batch(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """(count, words, 320) of captions, and (count, 6): each attribute's value, 16 where it is not mentioned."""
    rows = [caption(rng) for _ in range(count)]
    words = [words_of(t) for t, _ in rows]
    unrelated = _unrelated_words()
    v = np.zeros((count, max(map(len, words)) + 2, VECTOR), np.float32)
    for i, w in enumerate(words):
        v[i, : len(w)] = vectors_of(w)
        for k in range(len(w), v.shape[1]):
            if rng.random() < UNRELATED_SHARE:
                v[i, k] = vectors_of((unrelated[rng.integers(len(unrelated))],))[0]
    whole = (np.abs(v[..., PIECE_DIM:]).max(-1) > 0) & (np.abs(v[..., :PIECE_DIM]).max(-1) > 0)
    draws = np.where(whole, rng.random(whole.shape), 1)
    v[draws < DROPOUT_SHARE, :PIECE_DIM] = 0
    v[(draws >= DROPOUT_SHARE) & (draws < 2 * DROPOUT_SHARE), PIECE_DIM:] = 0
    for part in (v[..., :PIECE_DIM], v[..., PIECE_DIM:]):
        noise = rng.standard_normal(part.shape, np.float32) * NOISE_LENGTH / part.shape[-1] ** 0.5
        part += noise * (np.abs(part).max(-1, keepdims=True) > 0)
    target = [[s[k] if s[k] >= 0 else WIDTH for k in ATTRIBUTES] for _, s in rows]
    return torch.from_numpy(v), torch.tensor(target)


def train(steps: int, batch: int = 64, seed: int = 0, config: TextConfig | None = None) -> TextEncoder:
    """A few minutes on two cores."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = TextEncoder(config or TextConfig())
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    for step in range(steps):
        x, target = _batch(rng, batch)
        loss = F.nll_loss(shares(model(x)).clamp(min=1e-6).log().flatten(0, 1), target.flatten())
        opt.param_groups[0]["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        opt.zero_grad()
        loss.backward()
        opt.step()
    return model.eval()
