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
    if all(t.parts is None and t.rows is None for t in (first, second)):
        return Tokens(values, words, understood=1.0)
    parts = np.zeros((len(words), *values.shape), np.float32)
    top = 0
    for tokens in (first, second):
        rows = slice(top, top + len(tokens.values))
        top = rows.stop
        for word, part in zip(tokens.words, _parts(tokens), strict=False):
            parts[words.index(word), rows, : part.shape[1]] = part
    return Tokens(values, words, parts, understood=1.0)


def parted(tokens: Array, first: tuple[int, int], second: tuple[int, int]) -> tuple[Array, Array]:
    """The tokens of each world, of the shapes that its encoder makes."""
    rows, columns = first
    return tokens[:rows, :columns], tokens[rows : rows + second[0], : second[1]]


def _padded(values: Array, width: int) -> Array:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


def _parts(tokens: Tokens) -> Array:
    """(words, n, d); none where the encoder names no shares."""
    if tokens.parts is not None:
        return tokens.parts
    if tokens.rows is not None:
        return tokens.rows[:, :, None] * tokens.values
    return np.zeros((0, *tokens.values.shape), np.float32)
