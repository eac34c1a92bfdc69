"""Named sizes of the same world: only numbers differ."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..nano.autoencoder import AutoencoderConfig
from ..nano.text_encoder import TextConfig
from ..nano.transformer import WorldConfig


@dataclass(frozen=True)
class Recipe:
    """Everything `wj train` needs to make one world again from a seed."""

    height: int = 288
    width: int = 512
    images: int = 6000  # stage images for autoencoder and probe
    sequences: int = 2400
    frames: int = 8  # of a sequence
    text_steps: int = 10000
    autoencoder_steps: int = 5200
    probe_steps: int = 2200
    world_steps: int = 12800
    reader_steps: int = 1000
    finish_steps: int = 600  # with more, smooth skies get stripes and edges turn into stairs
    finish_count: int = 800  # sequences that its critic sees
    large_steps: int = 6000  # of the decoder to twice the size
    large_images: int = 2400
    batch: int = 4  # clips of `world.window` frames a step
    text: TextConfig = field(default_factory=TextConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    world: WorldConfig = field(default_factory=WorldConfig)


def _world(width: int, blocks: int, trunk: int, **rest: int) -> WorldConfig:
    """A large world: every third block looks back in time, and recalls sparsely."""
    return WorldConfig(width=width, heads=max(8, width // 64), blocks=blocks, temporal=tuple(range(1, blocks, 3)),
                       trunk=trunk, **rest)  # fmt: skip


RECIPES: dict[str, Recipe] = {
    "nano": Recipe(),  # 14 M parameters, two CPU cores
    # 67 M, 435 M and 2.5 B, for GPUs under torchrun; nobody has trained these yet.
    "small": Recipe(
        sequences=20_000,
        frames=16,
        world_steps=40_000,
        batch=16,
        world=_world(512, 10, 192, window=8, texture_depth=6, detail=96, recall=32),
    ),
    "base": Recipe(
        sequences=100_000,
        frames=32,
        world_steps=150_000,
        batch=64,
        world=_world(1024, 20, 384, window=16, texture_depth=8, detail=128, recall=64),
    ),
    "large": Recipe(
        sequences=400_000,
        frames=32,
        world_steps=300_000,
        batch=256,
        world=_world(2048, 28, 768, window=16, texture_depth=12, detail=192, recall=128, expand=4),
    ),
    # Trains end to end in about a minute: for tests of the recipe, never for judging the model.
    "tiny": Recipe(
        height=64,
        width=96,
        images=96,
        sequences=50,
        frames=4,
        text_steps=20,
        autoencoder_steps=20,
        probe_steps=10,
        world_steps=10,
        reader_steps=10,
        finish_steps=10,
        large_steps=4,
        large_images=16,
        autoencoder=AutoencoderConfig(channels=8, widths=(8, 12, 16), blocks=(1, 1, 1)),
        world=WorldConfig(
            channels=8,
            rows=4,
            columns=6,
            width=32,
            heads=2,
            blocks=2,
            temporal=(1,),
            window=4,
            trunk=16,
            texture_depth=2,
            detail=8,
        ),
    ),
}
