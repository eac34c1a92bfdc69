"""Free text to prompt tokens.

Words get static vectors: wordllama's packaged table (256 numbers a word piece, read directly, nothing is downloaded)
beside what the whole word means (`lexicon`). A small network turns each word, seen between its neighbours (a comma or
full stop parts them), into evidence for what the world can show. A token is the
share of evidence for each value of one attribute; what no word mentions stays open, and the world keeps what it has.
Because evidence adds up over words, every word's part in a token is known exactly, which is what word weights move.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from ..spec import Array, Tokens
from ..stage.vocabulary import ATTRIBUTES, WIDTH
from .lexicon import MEANING_DIM, meaning

WORDS_MAX = 2048  # a longer prompt is read up to here
PIECE_DIM = 256
VECTOR = PIECE_DIM + MEANING_DIM
MARKS = frozenset(",.;:!?\n")
NO_MENTION = 1.0  # evidence that an attribute is not mentioned


@dataclass(frozen=True)
class TextConfig:
    hidden: int = 640


@lru_cache(maxsize=1)
def _table() -> tuple[Tokenizer, Array]:
    spec = importlib.util.find_spec("wordllama")  # found, not imported: its own loader wants the network
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the word vectors are missing: pip install wordllama")
    root = Path(spec.submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(root / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    vectors = load_file(root / "weights" / "l2_supercat_256.safetensors")["embedding.weight"].astype(np.float32)
    return tokenizer, vectors


def words_of(text: str) -> tuple[str, ...]:
    """Words and marks, lower case.

    Full-width letters, ligatures and accents typed apart are the same letters as anybody's (Unicode's form NFKC), a
    curly apostrophe is an apostrophe, and underscores part words, as file names have them.
    """
    plain = unicodedata.normalize("NFKC", text).replace("_", " ").replace("\u2019", "'").lower()
    return tuple(re.findall(r"\w+(?:'\w+)?|[,.;:!?\n]", plain))[:WORDS_MAX]


@lru_cache(maxsize=8192)
def _vector(word: str) -> Array:
    tokenizer, vectors = _table()
    if word in MARKS:
        return np.zeros(VECTOR, np.float32)
    ids = tokenizer.encode(word, add_special_tokens=False).ids
    v = vectors[ids].mean(0) if ids else np.zeros(PIECE_DIM, np.float32)
    return np.concatenate([v / max(float(np.linalg.norm(v)), 1e-6), meaning(word)])


def vectors_of(words: tuple[str, ...]) -> Array:
    """(len(words), 320): 256 of unit length for its pieces and 64 for its meaning; a mark has zeros."""
    return np.stack([_vector(w) for w in words]) if words else np.zeros((0, VECTOR), np.float32)


class TextEncoder(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.near = nn.Conv1d(VECTOR, config.hidden, 3, padding=1)
        self.own = nn.Linear(VECTOR, config.hidden)
        self.evidence = nn.Linear(2 * config.hidden, len(ATTRIBUTES) * WIDTH)
        nn.init.constant_(self.evidence.bias, -3.0)
        valid = torch.zeros(len(ATTRIBUTES), WIDTH)
        for i, values in enumerate(ATTRIBUTES.values()):
            valid[i, : len(values)] = 1
        self.valid: Tensor
        self.register_buffer("valid", valid, persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """(b, words, 320), zeros where there is no word -> evidence (b, words, 6, 16), at least 0."""
        near = F.relu(self.near(vectors.transpose(1, 2))).transpose(1, 2)
        own = F.relu(self.own(vectors))
        e = F.softplus(self.evidence(torch.cat([F.dropout(near, 0.2, self.training), own], -1)) * 4) * 4
        there = (vectors.abs().amax(-1) > 0)[..., None, None]
        return e.unflatten(-1, self.valid.shape) * self.valid * there

    @torch.inference_mode()
    def encode(self, text: str) -> Tokens:
        words = words_of(text)
        spoken = [i for i, w in enumerate(words) if w not in MARKS]
        if not spoken:
            return Tokens(np.zeros((len(ATTRIBUTES), WIDTH), np.float32))
        e = self(torch.from_numpy(vectors_of(words))[None])[0, spoken].numpy()
        parts = e / (NO_MENTION + e.sum((0, 2), keepdims=True))
        # A shade of doubt beside a clear word would be seen as a ghost in the image.
        shares = parts.sum(0)
        parts = parts * (shares / np.maximum(shares.max(-1, keepdims=True), 1e-6))
        return Tokens(parts.sum(0), tuple(words[i] for i in spoken), parts)
