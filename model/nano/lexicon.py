"""The meaning of single words, as vectors from a sentence encoder.

`weights/words.safetensors` holds the commonest words of English as all-mpnet-base-v2 (Apache-2.0) embeds them, cut to
their principal components (as Model2Vec does, https://github.com/MinishLab/model2vec), a byte a number. A word whose
pieces do not show its meaning (elated) lies here beside plain words that mean the same.

`python -m worldjockey.model.nano.lexicon FOLDER` makes the file again, from a FOLDER with the encoder's files; it needs
transformers and wordfreq.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..errors import WeightsMissing
from ..spec import Array

FILE = Path(__file__).parents[1] / "weights" / "words.safetensors"
VOCABULARY_SIZE = 96_000
MEANING_DIM = 64
NEAR_COSINE = 0.5  # cosine to a training word from which a word counts as near: the components separate these


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, int], NDArray[np.int8]]:
    if not FILE.exists():
        raise WeightsMissing(f"{FILE} is missing: reinstall worldjockey")
    found = load_file(FILE)
    words = found["words"].tobytes().decode().split("\n")
    return {w: i for i, w in enumerate(words)}, found["vectors"]


def _unit(rows: NDArray[np.int8]) -> Array:
    exact = rows.astype(np.float32)
    return exact / np.maximum(np.linalg.norm(exact, axis=-1, keepdims=True), np.float32(1e-6))


@lru_cache(maxsize=1)
def lexicon() -> tuple[dict[str, int], Array]:
    """Word -> row, and (words, 64) float32 of unit length, the commonest first. Raises WeightsMissing."""
    index, rows = _table()
    return index, _unit(rows)


def meaning(word: str) -> Array:
    """(64,) of unit length; zeros where the word is not known. Only its own row is computed: all would be 25 MB."""
    index, rows = _table()
    i = index.get(word)
    return np.zeros(MEANING_DIM, np.float32) if i is None else _unit(rows[i])


def likeness(rows: Array, known: Array) -> Array:
    """(n,) the largest cosine of each of (n, d) with any of (m, d), all of unit length."""
    return np.concatenate([(part @ known.T).max(1) for part in np.array_split(rows, 100)])


class SentenceEncoder:
    """An encoder of the sentence-transformers family, in a folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._split: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModel.from_pretrained(folder).eval()

    def __call__(self, texts: Sequence[str]) -> Array:
        """(texts, d) float32 of unit length, with a progress bar."""
        import torch
        from rich.progress import track

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike in length, so that nothing is padding
        rows: dict[int, Array] = {}
        with torch.inference_mode():
            for k in track(range(0, len(order), 256), "reading"):
                batch = order[k : k + 256]
                pieces = self._split([texts[i] for i in batch], padding=True, return_tensors="pt")
                states, there = self._model(**pieces).last_hidden_state, pieces["attention_mask"][..., None]
                found = torch.nn.functional.normalize((states * there).sum(1) / there.sum(1), dim=-1)
                rows.update(zip(batch, found.numpy(), strict=True))
        return np.stack([rows[i] for i in range(len(texts))])


def compressed(vectors: Array, taught: Array) -> Array:
    """(words, d) -> (words, MEANING) int8: the principal components of those near the rows of `taught` (indices)."""
    x = vectors - vectors.mean(0)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = likeness(unit, unit[taught]) > NEAR_COSINE
    _, axes = np.linalg.eigh(np.cov(x[near].T))
    cut = x @ axes[:, ::-1][:, :MEANING_DIM]
    return np.round(cut / np.abs(cut).max(1, keepdims=True) * 127).astype(np.int8)


def save(words: Sequence[str], vectors: Array, file: Path = FILE) -> None:
    from ..stage.captions import taught

    index = {w: i for i, w in enumerate(words)}
    known = {w for phrase in taught() for w in re.findall(r"[a-z]+", phrase.lower())}
    rows = np.array(sorted(index[w] for w in known if w in index))
    table: dict[str, Any] = {
        "words": np.frombuffer("\n".join(words).encode(), np.uint8).copy(), "vectors": compressed(vectors, rows),
    }  # fmt: skip
    save_file(table, file)
    print(f"wrote {file}: {len(words)} words, {file.stat().st_size / 1e6:.1f} MB")


def make(folder: Path) -> None:
    from wordfreq import iter_wordlist

    words: list[str] = []
    for word in iter_wordlist("en", wordlist="large"):
        if word.isalpha() and word.isascii() and len(word) > 1:
            words.append(word)
        if len(words) == VOCABULARY_SIZE:
            break
    save(words, SentenceEncoder(folder)(words))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
