"""Free text to prompt tokens.

Words get static vectors: wordllama's packaged table (256 numbers a word piece, read directly, nothing is downloaded)
beside what the whole word means (`lexicon`). A small network turns each word, seen between its neighbours (a comma or
full stop parts them), into evidence for what the world can show. A token is the
share of evidence for each value of one attribute; what no word speaks of stays unsaid, and the world keeps what it has.
Because evidence adds up over words, every word's part in a token is known exactly, which is what word weights move.
"""

from __future__ import annotations

import importlib.util
import re
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
from .lexicon import MEANING, lexicon, likeness, meaning

WORDS_READ = 64  # a longer prompt is read up to here
PIECES = 256
VECTOR = PIECES + MEANING
MARKS = frozenset(",.;:!?\n")
UNSAID = 1.0  # evidence that nothing is said
BLUR = 0.4  # length of the noise on a word's pieces, and on its meaning, in training: neighbours mean the same
LOST = 0.1  # how often training reads a word by its meaning alone, and how often by its pieces alone
STRANGE = 0.06  # share of the room behind a caption that other words fill, which say nothing
UNLIKE = 0.38  # the largest cosine of such a word with any that teaches


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
    """Words and marks, lower case."""
    return tuple(re.findall(r"\w+(?:'\w+)?|[,.;:!?\n]", text.lower()))[:WORDS_READ]


@lru_cache(maxsize=8192)
def _vector(word: str) -> Array:
    tokenizer, vectors = _table()
    if word in MARKS:
        return np.zeros(VECTOR, np.float32)
    ids = tokenizer.encode(word, add_special_tokens=False).ids
    v = vectors[ids].mean(0) if ids else np.zeros(PIECES, np.float32)
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
        said = [i for i, w in enumerate(words) if w not in MARKS]
        if not said:
            return Tokens(np.zeros((len(ATTRIBUTES), WIDTH), np.float32))
        e = self(torch.from_numpy(vectors_of(words))[None])[0, said].numpy()
        parts = e / (UNSAID + e.sum((0, 2), keepdims=True))
        # A shade of doubt beside a clear word would be seen as a ghost in the picture.
        shares = parts.sum(0)
        parts = parts * (shares / np.maximum(shares.max(-1, keepdims=True), 1e-6))
        return Tokens(parts.sum(0), tuple(words[i] for i in said), parts)


def shares(evidence: Tensor) -> Tensor:
    """(b, words, 6, 16) -> (b, 6, 17): probability of each value, and of saying nothing last."""
    e = evidence.sum(1)
    e = torch.cat([e, torch.full_like(e[..., :1], UNSAID)], -1)
    return e / e.sum(-1, keepdim=True)


@lru_cache(maxsize=1)
def _strangers() -> tuple[str, ...]:
    """Words of the language that are like none that teaches."""
    from ..stage.captions import taught

    index, rows = lexicon()
    known = vectors_of(tuple(sorted({w for phrase in taught() for w in words_of(phrase)})))[:, PIECES:]
    near = likeness(rows, known)
    return tuple(w for w, i in index.items() if near[i] < UNLIKE)


def _batch(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """(count, words, 320) of captions, and (count, 6): index of the value each attribute has, 16 where unsaid."""
    from ..stage.captions import caption

    rows = [caption(rng) for _ in range(count)]
    words = [words_of(t) for t, _ in rows]
    strangers = _strangers()
    v = np.zeros((count, max(map(len, words)) + 2, VECTOR), np.float32)
    for i, w in enumerate(words):
        v[i, : len(w)] = vectors_of(w)
        for k in range(len(w), v.shape[1]):
            if rng.random() < STRANGE:
                v[i, k] = _vector(strangers[rng.integers(len(strangers))])
    whole = (np.abs(v[..., PIECES:]).max(-1) > 0) & (np.abs(v[..., :PIECES]).max(-1) > 0)
    luck = np.where(whole, rng.random(whole.shape), 1)
    v[luck < LOST, :PIECES] = 0
    v[(luck >= LOST) & (luck < 2 * LOST), PIECES:] = 0
    for part in (v[..., :PIECES], v[..., PIECES:]):
        noise = rng.standard_normal(part.shape, np.float32) * BLUR / part.shape[-1] ** 0.5
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


def accuracy(model: TextEncoder, count: int = 500, seed: int = 99, held_out: bool = True) -> dict[str, float]:
    """How often a caption's values are read right, over what it says."""
    from ..stage.captions import caption

    rng = np.random.default_rng(seed)
    hit = {k: [0, 0] for k in ATTRIBUTES}
    for _ in range(count):
        text, said = caption(rng, held_out)
        values = model.encode(text).values
        for i, k in enumerate(ATTRIBUTES):
            if said[k] >= 0:
                hit[k][0] += int(values[i].argmax() == said[k])
                hit[k][1] += 1
    return {k: a / max(b, 1) for k, (a, b) in hit.items()}
