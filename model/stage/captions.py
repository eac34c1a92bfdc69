"""How people say what the stage can show: phrases for every value (phrases.yaml), and captions made of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .vocabulary import ATTRIBUTES

FILE = Path(__file__).parent / "phrases.yaml"
SPOKEN = {"place": 0.8, "light": 0.6, "weather": 0.4, "figure": 0.5, "tint": 0.3, "mood": 0.3}  # how often

NEAR = 0.25  # share of values that are said by a word from the neighbourhood of their phrases,
PLAIN = 0.25  # and by their plainest names


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    found = yaml.safe_load(FILE.read_text("utf-8"))
    assert {k: tuple(found[k]) for k in ATTRIBUTES} == ATTRIBUTES
    return found


def phrases(attribute: str, value: str, held_out: bool) -> tuple[str, ...]:
    """The ways to say one value: those that teach, or those that test and that training never sees."""
    return tuple(_file()[attribute][value]["test" if held_out else "teach"])


def _one(rng: np.random.Generator, ways: Sequence[str]) -> str:
    """`rng.choice` would turn the whole list into an array first."""
    return ways[int(rng.integers(len(ways)))]


def caption(rng: np.random.Generator, held_out: bool = False) -> tuple[str, dict[str, int]]:
    """A sentence and what it says: attribute -> index of the value, -1 where it says nothing of it."""
    said: dict[str, int] = {}
    words: list[str] = []
    filler = _file()["filler"]
    for key, values in ATTRIBUTES.items():
        if rng.random() < SPOKEN[key]:
            i = int(rng.integers(len(values)))
            said[key] = i
            ways = _file()[key][values[i]]
            pool = phrases(key, values[i], held_out)
            if not held_out and (luck := rng.random()) < NEAR + PLAIN:
                pool = ways.get("words", pool) if luck < NEAR else pool[:2]
            words.append(_one(rng, pool))
        else:
            said[key] = -1
    rng.shuffle(words)
    out: list[str] = []
    for w in words:
        for _ in range(int(rng.integers(0, 3))):
            out.append(_one(rng, filler))
        out.append(w)
    if rng.random() < 0.3:
        out.append(_one(rng, filler))
    return " ".join(out) or _one(rng, filler), said
