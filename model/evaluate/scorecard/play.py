"""Prompts for a world, and running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...spec import Array, Controls, Prompt, World
from ...stage.captions import phrases
from ...stage.vocabulary import ATTRIBUTES, SCENES

FIRST_SEED = 90_000  # worlds from here on: no training run starts from them
FPS = 20
QUIET = {"weather": "clear", "figure": "none", "tint": "plain", "mood": "neutral"}  # nothing moves but the camera


@dataclass(frozen=True)
class Ask:
    """A prompt in words, and its value of each attribute."""

    text: str
    values: Mapping[str, str]


def ask(rng: np.random.Generator, fixed: Mapping[str, str] | None = None, *, held_out: bool = False) -> Ask:
    """A prompt with a phrase for every attribute, between commas, at random; `fixed` sets some of the values."""
    values = {k: str(rng.choice(v)) for k, v in ATTRIBUTES.items()}
    for key, share in (("tint", 0.5), ("mood", 0.4), ("weather", 0.2)):
        if rng.random() < share:
            values[key] = ATTRIBUTES[key][0]
    values |= fixed or {}
    return Ask(", ".join(str(rng.choice(phrases(k, v, held_out))) for k, v in values.items()), values)


def quiet_scenes(rng: np.random.Generator, count: int) -> list[Ask]:
    """Empty places with a horizon, in clear air by day, where nothing moves but the camera and the clocks."""
    days = [v for v in ATTRIBUTES["light"] if v in ("dawn", "noon", "sunset", "neon")]
    return [ask(rng, {**QUIET, "place": SCENES[i % len(SCENES)], "light": str(rng.choice(days))}) for i in range(count)]


def tokens(world: World, prompt: Ask) -> Array:
    return world.encode(Prompt(prompt.text)).values


def run(world: World, c: Controls, count: int) -> Iterator[Tensor]:
    """`count` frames, (h, w, 3) uint8 on the CPU. A step of several frames gives them all."""
    made = 0
    while made < count:
        for frame in torch.as_tensor(world.step(c)).cpu():
            yield frame
            made += 1
            if made == count:
                return


def settle(world: World, c: Controls, seconds: float) -> None:
    """Let the world run. One that can move on without drawing (the stage) does so."""
    skip = getattr(world, "skip", None)
    if skip is not None:
        skip(c, seconds)
        return
    for _ in run(world, c, max(1, round(seconds / c.dt))):
        pass


def change(a: Tensor, b: Tensor) -> float:
    """Mean absolute difference of two frames, in grey levels 0..255."""
    return float((a.short() - b.short()).abs().float().mean())
