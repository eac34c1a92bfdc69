"""Phrases for everything that the stage can show (phrases.yaml), and captions made of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .vocabulary import ATTRIBUTES

FILE = Path(__file__).parent / "phrases.yaml"
NEARBY = Path(__file__).parent / "nearby.yaml"
MENTIONED = {"place": 0.8, "light": 0.6, "weather": 0.4, "figure": 0.5, "tint": 0.3, "mood": 0.3}  # share of captions

# Shares of values that are named by a word from the neighbourhood of their phrases, by their plainest names, and by a
# phrase that nobody wrote (`train.nearby`).
NEAR, PLAIN, SWAPPED = 0.1, 0.15, 0.15
COMMA_SHARE = 0.6  # share of captions with commas between their phrases
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast, where PyYAML has it


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(FILE.read_text("utf-8"), LOADER)
    assert {k: tuple(found[k]) for k in ATTRIBUTES} == ATTRIBUTES
    return found


@lru_cache(maxsize=1)
def _nearby() -> dict[str, Any]:
    """Empty where the file is missing: only training needs it."""
    return yaml.load(NEARBY.read_text("utf-8"), LOADER) if NEARBY.exists() else {}


def phrases(attribute: str, value: str, held_out: bool) -> tuple[str, ...]:
    """The phrases for one value: those for training, or the held-out ones, which training never sees."""
    return tuple(_file()[attribute][value]["test" if held_out else "teach"])


@lru_cache(maxsize=1)
def filler() -> tuple[str, ...]:
    """Words without a meaning for the stage."""
    return tuple(_file()["filler"])


def training_phrases_of(attribute: str, value: str) -> tuple[str, ...]:
    """Every written training phrase and word for a value."""
    found = _file()[attribute][value]
    return (*found["teach"], *found.get("words", ()))


def taught() -> tuple[str, ...]:
    """Every written training phrase and word."""
    return tuple(
        phrase for key, values in ATTRIBUTES.items() for value in values for phrase in training_phrases_of(key, value)
    )


def _pool(rng: np.random.Generator, attribute: str, value: str) -> Sequence[str]:
    """The phrases from which training draws one for a value."""
    pool, luck = phrases(attribute, value, False), rng.random()
    if luck < NEAR:
        return _file()[attribute][value].get("words", pool)
    if luck < NEAR + PLAIN:
        return pool[:2]
    return _nearby().get(attribute, {}).get(value, pool) if luck < NEAR + PLAIN + SWAPPED else pool


def _one(rng: np.random.Generator, training_phrases_of: Sequence[str]) -> str:
    """`rng.choice` would turn the whole list into an array first."""
    return training_phrases_of[int(rng.integers(len(training_phrases_of)))]


def caption(rng: np.random.Generator, held_out: bool = False) -> tuple[str, dict[str, int]]:
    """A caption and its labels: attribute -> index of the value, -1 where it is not mentioned."""
    labels: dict[str, int] = {}
    words: list[str] = []
    for key, values in ATTRIBUTES.items():
        if rng.random() < MENTIONED[key]:
            i = int(rng.integers(len(values)))
            labels[key] = i
            pool = phrases(key, values[i], True) if held_out else _pool(rng, key, values[i])
            words.append(_one(rng, pool))
        else:
            labels[key] = -1
    rng.shuffle(words)
    parts = []
    for w in words:
        parts.append(" ".join([*(_one(rng, filler()) for _ in range(int(rng.integers(0, 3)))), w]))
    if rng.random() < 0.3 or not parts:
        parts.append(_one(rng, filler()))
    return (", " if rng.random() < COMMA_SHARE else " ").join(parts), labels
