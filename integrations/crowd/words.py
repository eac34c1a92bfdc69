"""Cleans the words that people send, and finds those that a show blocks. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

CHARS_MAX = 24
MARKS_MAX = 2  # accents on one letter: more of them draw over the lines around
_BETWEEN = " -'’"
_LOOKALIKES = str.maketrans("013457@$!|", "oieastasii")
_WHOLE_CHARS = 3  # a blocked word this short counts only where it stands alone: "ass" is in "glass"


def clean(text: str) -> str:
    """The word in lower case, without anything but letters, digits, single spaces, hyphens and apostrophes; empty
    where nothing readable is left, or it is too long. Also of several words, as in "red rain"."""
    kept: list[str] = []
    marks = 0
    folded = unicodedata.normalize("NFKC", text[: CHARS_MAX * 4]).casefold()
    for char in unicodedata.normalize("NFKC", folded):
        kind = unicodedata.category(char)
        marks = marks + 1 if kind[0] == "M" else 0
        if kind[0] in "LN" or (kind[0] == "M" and marks <= MARKS_MAX and kept):
            kept.append(char)
        elif (char in _BETWEEN or char.isspace()) and kept and kept[-1] not in _BETWEEN:
            kept.append(char if char in _BETWEEN else " ")
    word = "".join(kept).strip(_BETWEEN)
    return word if len(word) <= CHARS_MAX and any(char.isalpha() for char in word) else ""


def skeleton(word: str) -> str:
    """What a word looks like: without accents, digits read as letters, and no letter more than twice in a row."""
    plain = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c)[0] != "M")
    return re.sub(r"(.)\1{2,}", r"\1\1", plain.casefold().translate(_LOOKALIKES))


class Blocklist:
    """Words that are not taken, however they are spelled: "Fòòl", "f00l", "foooool" and "f o o l" for "fool"."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        cleaned = [word for word in map(clean, words) if word]
        self._whole = {skeleton(word) for word in cleaned if len(word) <= _WHOLE_CHARS}
        self._parts = {re.sub(r"\W", "", skeleton(word)) for word in cleaned if len(word) > _WHOLE_CHARS}

    def has(self, word: str) -> bool:
        seen = skeleton(word)
        joined = skeleton(re.sub(r"[\W_]", "", word))
        if joined in self._whole or self._whole.intersection(re.split(r"\W+", seen)):
            return True
        return any(part in joined for part in self._parts)
