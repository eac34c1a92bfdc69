"""Named sizes of the same world: only numbers differ."""

from __future__ import annotations

from dataclasses import dataclass, field

from .autoencoder import AutoencoderConfig
from .text import TextConfig
from .transformer import WorldConfig


@dataclass(frozen=True)
class Recipe:
    """Everything `wj train` needs to make one world again from a seed."""

    height: int = 288
    width: int = 512
    pictures: int = 6000  # stage pictures for autoencoder and probe
    sequences: int = 2400
    frames: int = 8  # of a sequence
    text_steps: int = 3000
    autoencoder_steps: int = 5200
    probe_steps: int = 2200
    world_steps: int = 5800
    reader_steps: int = 1500
    batch: int = 4  # clips of `world.window` frames a step
    text: TextConfig = field(default_factory=TextConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    world: WorldConfig = field(default_factory=WorldConfig)


RECIPES: dict[str, Recipe] = {
    "nano": Recipe(),
    # Trains end to end in about a minute: for tests of the recipe, never for judging the model.
    "tiny": Recipe(
        height=64,
        width=96,
        pictures=96,
        sequences=50,
        frames=4,
        text_steps=20,
        autoencoder_steps=20,
        probe_steps=10,
        world_steps=10,
        reader_steps=10,
        autoencoder=AutoencoderConfig(channels=8, widths=(8, 12, 16), blocks=(1, 1, 1)),
        world=WorldConfig(
            channels=8, rows=4, columns=6, width=32, heads=2, blocks=2, temporal=(1,), window=4, trunk=16, sheets=6
        ),
    ),
}
