"""The words of a prompt, and the tokenizer's pieces that belong to each."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..spec import Array

WORD = re.compile(r"\w+(?:'\w+)?")


def pieces_of(text: str, pieces: Sequence[tuple[int, int]], rows: int) -> tuple[tuple[str, ...], Array]:
    """The words of a text in order, lower case, and (words, rows) float32: 1 where a piece lies within the word.

    pieces: (begin, end) in the text, of each row. A word that comes twice is one word with the pieces of both.
    """
    spans_of_word: dict[str, list[tuple[int, int]]] = {}
    for found in WORD.finditer(text):
        spans_of_word.setdefault(found[0].lower(), []).append(found.span())
    whose = np.zeros((len(spans_of_word), rows), np.float32)
    for i, spans in enumerate(spans_of_word.values()):
        for k, (begin, end) in enumerate(pieces):
            whose[i, k] = any(max(begin, b) < min(end, e) for b, e in spans)
    return tuple(spans_of_word), whose
