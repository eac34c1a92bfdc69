"""The sizes of the causal Wan networks, and what follows from them. Importing this loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

TRAINED_NOISE_LEVELS = (1000, 750, 500, 250)  # noise levels that the checkpoints were distilled at, of 1000
Size: TypeAlias = tuple[int, int]  # rows and columns of latents, an eighth of the frame's, even
# By shape: wide, square, upright. The checkpoints were distilled at the first of LARGE. SMALL is a third of the work.
LARGE: tuple[Size, ...] = ((60, 104), (78, 78), (104, 60))
SMALL: tuple[Size, ...] = ((40, 72), (54, 54), (72, 40))
TEXT_ROWS = 512  # text tokens that the network attends to, zeros included: it was trained so


@dataclass(frozen=True)
class WanConfig:
    """Sizes of the network (default: Wan 2.1 1.3B) and how it rolls. Frames are latent frames."""

    dim: int = 1536
    ffn: int = 8960
    heads: int = 12
    layers: int = 30
    freq_dim: int = 256
    text_dim: int = 4096
    text: int = TEXT_ROWS
    channels: int = 16
    frames: int = 3  # of a chunk
    window: int = 21  # that roll, the chunk being drawn among them
    sink: int = 0  # that stay
    shift: float = 5.0  # of the noise schedule

    def __post_init__(self) -> None:
        for name in ("window", "sink"):
            if getattr(self, name) % self.frames:
                raise ValueError(f"{name} {getattr(self, name)} is not a whole number of chunks of {self.frames}")
        if self.window < 2 * self.frames:
            raise ValueError(f"a window of {self.window} frames leaves no room for a past: at least {2 * self.frames}")

    @property
    def sink_chunks(self) -> int:
        return self.sink // self.frames

    @property
    def chunks(self) -> int:
        """That the cache holds, sink and the present one included."""
        return (self.sink + self.window) // self.frames


WORK_BYTES = 3e9  # of a GPU: the decoder, what a pass computes, CUDA and its graphs (an estimate)


def network_bytes(config: WanConfig, size: Size) -> float:
    """Bytes of a GPU that a world needs: weights and cache in bfloat16, and its work."""
    c, tokens = config, size[0] * size[1] // 4  # of a latent frame
    layer = 8 * c.dim**2 + 2 * c.dim * c.ffn
    embeddings = (c.text_dim + c.freq_dim + 8 * c.channels) * c.dim + 8 * c.dim**2
    cached = 2 * c.layers * ((c.window + c.sink) * tokens + c.text) * c.dim
    return 2 * (c.layers * layer + embeddings + cached) + WORK_BYTES


# Self-Forcing and Causal-Forcing were trained on 21 latent frames. Rolled further they keep the first chunk, as
# LongLive does: without it they see a past that they never saw in training, flicker and drift (Self-Forcing issue 39).
CONFIGS = {
    "wan-1.3b-self-forcing": WanConfig(window=18, sink=3),
    "wan-1.3b-causal-forcing": WanConfig(window=18, sink=3),
    "wan-1.3b-longlive": WanConfig(window=9, sink=3),
}


def windows(config: WanConfig) -> tuple[int, ...]:
    """Windows that a rollout can use, its own first, then about two thirds and a half of it, in whole chunks and at
    least two. Most of the time goes to attention, whose cost grows with the window."""
    least, frames = 2 * config.frames, config.frames
    widths = (max(round(config.window * share / frames) * frames, least) for share in (1, 2 / 3, 3 / 7))
    return tuple(dict.fromkeys(widths))


def ladder(widths: int, small: bool = False) -> tuple[tuple[int, int], ...]:
    """(steps, index of a quality), the order in which a world with so many windows gives up quality. small: a smaller
    frame is its last quality.

    A shorter memory or a smaller frame costs the picture less than fewer steps than the network was distilled at do. So
    windows go first, and steps only together with them; in the large frame there are at least three.
    """
    most = len(TRAINED_NOISE_LEVELS)
    rungs = [(most, 0)]
    for level in range(1, widths):
        steps = rungs[-1][0]
        rungs += [(steps, level), (max(steps - 1, 3 if small else 1), level)]
    last = widths if small else widths - 1
    rungs += [(steps, last) for steps in range(most if small else rungs[-1][0], 0, -1)]
    return tuple(dict.fromkeys(rungs))
