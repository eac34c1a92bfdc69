"""One array of tokens for two worlds: rows of the first, then rows of the second, padded to the wider one."""

from __future__ import annotations

import numpy as np

from ..spec import Array, Tokens


def joined(first: Tokens, second: Tokens) -> Tokens:
    """Both encodings of one prompt. A word that both know has one weight, which holds for both. Rows are mixed one by
    one, so each world gets from a mix what it would get alone (`parted`)."""
    words = tuple(dict.fromkeys((*first.words, *second.words)))
    width = max(first.values.shape[1], second.values.shape[1])
    values = np.concatenate([_padded(t.values, width) for t in (first, second)])
    rows, parts = np.zeros((len(words), len(values)), np.float32), None
    if first.parts is not None or second.parts is not None:
        end = len(values) if second.parts is not None else len(first.values)
        parts = np.zeros((len(words), end, width), np.float32)
    for tokens, top in ((first, 0), (second, len(first.values))):
        for i, word in enumerate(tokens.words):
            if tokens.rows is not None:
                rows[words.index(word), top : top + len(tokens.values)] = tokens.rows[i]
            if tokens.parts is not None and parts is not None:
                part = tokens.parts[i]
                parts[words.index(word), top : top + len(part), : part.shape[1]] = part
    return Tokens(values, words, parts, rows if rows.any() else None)


def parted(tokens: Array, first: tuple[int, int], second: tuple[int, int]) -> tuple[Array, Array]:
    """The tokens of each world, of the shapes that its encoder makes."""
    rows, columns = first
    return tokens[:rows, :columns], tokens[rows : rows + second[0], : second[1]]


def _padded(values: Array, width: int) -> Array:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))
