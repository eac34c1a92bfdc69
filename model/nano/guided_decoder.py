"""A decoder to frames twice as large, which also sees what is known of each line of sight.

A latent holds 16x16 pixels in 32 numbers, which is too little for a sharp edge. But where an edge is, the neural
textures and the figure's pose say exactly. So this decoder reads the textures twice as fine as the network does, beside
finer ones of its own that hold little more than edges, and shades them by the conditioning; what it reads is then added
to the features of the latents. Averaged by twos, the finer readings are those that the network itself takes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..stage.constants import indices
from ..stage.geometry import DEPTH_PLANES, MOTES, SPIRALS, Rays
from ..stage.scene import SEED_DIM, SOUND, Scene
from ..stage.vocabulary import SCENES
from .autoencoder import AutoencoderConfig, Residual
from .neural_textures import (
    GROUNDED,
    GROUNDED_PLACES,
    TAPS,
    Coordinates,
    SelectedTextures,
    Texture,
    near_planes,
    spirals_and_motes,
)
from .transformer import CLOCK_DIM, PHASE_DIM, POSE_DIM, PROMPT_DIM, PROMPT_TOKENS

GUIDE_TAPS = 2 * TAPS  # readings across a latent
SCALE = 2  # of its frames, over those of the autoencoder's own decoder
TABLE, TEXEL_SCALE = ".table", "_scale"  # ends of the names of textures, and of their scales, in a file
PANORAMA_CHANNELS, PLANE_CHANNELS, GROUND_CHANNELS, PATH_CHANNELS, SPIRAL_CHANNELS, MOTE_CHANNELS = 2, 2, 2, 1, 3, 2


@dataclass(frozen=True)
class GuidedConfig:
    """readings: channels of the network's own textures. prompt: numbers of the prompt. others: how many numbers it
    takes of each further context vector, in the order of `Vectors.others`: phase, pose, clock, seed, sound."""

    readings: int = 103
    prompt: int = PROMPT_TOKENS * PROMPT_DIM
    others: tuple[int, ...] = (PHASE_DIM, POSE_DIM, CLOCK_DIM - 1, SEED_DIM + 1, len(SOUND))
    condition: tuple[int, int] = (192, 96)
    shade: tuple[int, int] = (48, 24)
    width: int = 32  # channels at a quarter of its frame


class FineTextures(nn.Module):
    """Textures of few channels and many texels. forward: (n, channels, GUIDE_TAPS * rows, GUIDE_TAPS * columns)."""

    channels = PANORAMA_CHANNELS + GROUND_CHANNELS + PATH_CHANNELS + PLANE_CHANNELS + 1
    channels += 2 * SPIRAL_CHANNELS + 2 * MOTE_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        grounded = len(GROUNDED)
        self.panorama = Texture(grounded, 216, 512, PANORAMA_CHANNELS)
        self.planes = Texture(len(SCENES) * DEPTH_PLANES, 160, 512, PLANE_CHANNELS + 1, covers=True)
        self.ground = Texture(grounded, 256, 512, GROUND_CHANNELS, wrap_rows=True)
        self.path = Texture(grounded, 128, 192, PATH_CHANNELS, wrap_rows=True)
        self.spirals = nn.ModuleDict({k: nn.ModuleList(Texture(1, 160, 512, SPIRAL_CHANNELS, wrap_rows=True)
                                                       for _ in layers) for k, layers in SPIRALS.items()})  # fmt: skip
        self.motes = nn.ModuleDict({k: nn.ModuleList(Texture(1, 144, 256, MOTE_CHANNELS, wrap_rows=True)
                                                     for _ in layers) for k, layers in MOTES.items()})  # fmt: skip

    def forward(self, s: Scene, rows: int, columns: int, selected: SelectedTextures | None = None) -> Tensor:
        t = selected or self
        r = Rays.of(s, rows * GUIDE_TAPS, columns * GUIDE_TAPS)
        c = Coordinates.of(r)
        grounded = s.place[:, indices(GROUNDED_PLACES, s.place.device)]
        behind = torch.cat([
            t.panorama(grounded, c.turns, c.height),
            t.ground(grounded, c.along, c.ahead) * c.near[:, None],
            t.path(grounded, c.lateral, c.ahead) * c.near[:, None],
        ], 1)  # fmt: skip
        in_front, through = near_planes(r, s, t.planes, selected.first if selected else None)
        layers = selected.layers(r) if selected else spirals_and_motes(self.spirals, self.motes, r, s)
        return torch.cat([behind * through, in_front, through, *layers], 1)


class GuidedDecoder(nn.Module):
    """Latents (n, c, rows, columns) and a guide (`shade`) -> frames (n, 3, 32 * rows, 32 * columns) in 0..1."""

    def __init__(self, config: GuidedConfig, autoencoder: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        w4, w8, w16 = autoencoder.widths
        _, b8, b16 = autoencoder.blocks
        hidden, guide = config.shade
        self.textures = FineTextures()
        self.low = nn.Sequential(
            nn.Conv2d(autoencoder.channels, w16, 3, padding=1), *(Residual(w16) for _ in range(b16)),
            nn.Conv2d(w16, 4 * w8, 1), nn.PixelShuffle(2), *(Residual(w8) for _ in range(b8)),
            nn.Conv2d(w8, 4 * w4, 1), nn.PixelShuffle(2),
        )  # fmt: skip
        numbers = config.prompt + sum(config.others)
        self.condition = nn.Sequential(
            nn.Linear(numbers, config.condition[0]), nn.SiLU(), nn.Linear(*config.condition), nn.SiLU()
        )
        self.a = nn.Linear(config.readings + FineTextures.channels, hidden)
        self.b = nn.Linear(hidden, guide)
        self.modulate = nn.Linear(config.condition[1], 2 * hidden + 2 * guide)
        self.join_low = nn.Conv2d(4 * guide, w4, 1)
        self.body_low = Residual(w4)
        self.up = nn.Conv2d(w4, 4 * config.width, 1)
        self.join = nn.Conv2d(guide, config.width, 1)
        self.body = Residual(config.width)
        self.end = nn.Conv2d(config.width, 48, 3, padding=1)

    def shade(self, readings: Tensor, conditioning: Sequence[Tensor]) -> Tensor:
        """Readings (n, channels, h, w) of the network's textures and of the fine ones -> the guide (n, shade, h, w).

        conditioning: `frame_graphs.guiding`."""
        cond = self.condition(torch.cat([vector.flatten(1) for vector in conditioning], -1))
        hidden, guide = self.config.shade
        scale_a, shift_a, scale_b, shift_b = self.modulate(cond)[:, :, None].split([hidden, hidden, guide, guide], 1)
        x = torch.baddbmm(self.a.bias[:, None] + shift_a, self.a.weight * (1 + scale_a), readings.flatten(2))
        x = torch.baddbmm(self.b.bias[:, None] + shift_b, self.b.weight * (1 + scale_b), F.silu(x))
        return x.unflatten(-1, readings.shape[-2:])

    def forward(self, latents: Tensor, guide: Tensor) -> Tensor:
        x = self.low(latents)
        x = self.body_low(x + self.join_low(F.silu(F.pixel_unshuffle(guide, 2))))
        y = self.body(F.pixel_shuffle(self.up(x), 2) + self.join(F.silu(guide)))
        return F.pixel_shuffle(self.end(F.silu(y)), 4) * 0.5 + 0.5

    def save(self, path: Path) -> None:
        """safetensors, the configuration in its header: texels in 8 bits with a scale for each texture and channel,
        everything else in fp16."""
        tensors = {}
        for name, value in self.state_dict().items():
            value = value.detach().cpu()
            if name.endswith(TABLE):
                scale = value.abs().amax((2, 3), keepdim=True).clamp(min=1e-8) / 127
                tensors[name] = (value / scale).round().to(torch.int8).contiguous()
                tensors[name + TEXEL_SCALE] = scale.half().contiguous()
            else:
                tensors[name] = value.half().contiguous()
        save_file(tensors, path, metadata={"worldjockey": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: Path, autoencoder: AutoencoderConfig) -> GuidedDecoder:
        """Raises OSError or ValueError for a file that is missing or does not fit."""
        with safe_open(path, "pt") as f:
            about = json.loads((f.metadata() or {})["worldjockey"])
            tensors = {k: f.get_tensor(k).float() for k in f.keys()}  # noqa: SIM118 (not a dict)
        for name in [name for name in tensors if name.endswith(TABLE)]:
            tensors[name] *= tensors.pop(name + TEXEL_SCALE)
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about.items()}
        config = GuidedConfig(**fields)
        decoder = cls(config, autoencoder)
        try:
            decoder.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit this version of worldjockey: reinstall worldjockey") from error
        return decoder
