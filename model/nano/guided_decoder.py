"""A decoder to frames twice as large, which also sees what is known of each line of sight.

A latent holds 16x16 pixels in 32 numbers, which is too little for a sharp edge. But where an edge is, the neural
textures and the figure's pose say exactly. So this decoder has textures of its own, which hold little more than edges
and are read twice as fine as those of the network. What it reads, and around that what the network reads, is shaded by
the conditioning and then added to the features of the latents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..stage.constants import indices
from ..stage.figure import skeleton
from ..stage.geometry import DEPTH_PLANES, MOTES, SPIRALS, Rays
from ..stage.scene import SEED_DIM, SOUND, Scene
from ..stage.vocabulary import SCENES
from . import weight_file
from .autoencoder import CELL, AutoencoderConfig, Residual
from .neural_textures import (
    BODY_CHANNELS,
    GROUNDED,
    GROUNDED_PLACES,
    TAPS,
    Coordinates,
    Texture,
    body,
    disc,
    near_planes,
    shows_figure,
    spirals_and_motes,
)
from .transformer import CLOCK_DIM, PHASE_DIM, POSE_DIM, PROMPT_DIM, PROMPT_TOKENS

if TYPE_CHECKING:
    from .texture_selection import Selection

FINER = 2  # readings for each one of the network's, across and down
SCALE = 2  # of its frames, over those of the autoencoder's own decoder
TABLE, TEXEL_SCALE = ".table", "_scale"  # ends of the names of textures, and of their scales, in a file
PANORAMA_CHANNELS, PLANE_CHANNELS, GROUND_CHANNELS, PATH_CHANNELS, SPIRAL_CHANNELS, MOTE_CHANNELS = 2, 2, 2, 1, 3, 2
SKYLINE_CHANNELS = 4  # the horizon and `disc`
HORIZON_WIDTH = 0.02  # screen units within which the horizon is given exactly


@dataclass(frozen=True)
class GuidedConfig:
    """readings: channels of the network's own textures. prompt: numbers of the prompt. others: how many numbers it
    takes of each further context vector, in the order of `Vectors.others`: phase, pose, clock, seed, sound."""

    readings: int = 103
    prompt: int = PROMPT_TOKENS * PROMPT_DIM
    others: tuple[int, ...] = (PHASE_DIM, POSE_DIM, CLOCK_DIM - 1, SEED_DIM, len(SOUND))
    condition: tuple[int, int] = (192, 96)
    shade: tuple[int, int] = (48, 24)
    width: int = 32  # channels at a quarter of its frame


class FineTextures(nn.Module):
    """Textures of few channels and many texels, and the edges of what has none: horizon, sun, figure.

    forward: (n, channels, FINER * TAPS * rows, FINER * TAPS * columns), ordered as `Rays.finer_first`."""

    channels = PANORAMA_CHANNELS + GROUND_CHANNELS + PATH_CHANNELS + PLANE_CHANNELS + 1
    channels += 2 * SPIRAL_CHANNELS + 2 * MOTE_CHANNELS + SKYLINE_CHANNELS + BODY_CHANNELS

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

    def forward(self, s: Scene, rows: int, columns: int, selected: Selection | None = None) -> Tensor:
        t = selected or self
        r = Rays.of(s, rows * TAPS * FINER, columns * TAPS * FINER).finer_first(FINER)
        c = Coordinates.of(r)
        grounded = s.place[:, indices(GROUNDED_PLACES, s.place.device)]
        behind = torch.cat([
            t.panorama(grounded, c.turns, c.height),
            t.ground(grounded, c.along, c.ahead) * c.near[:, None],
            t.path(grounded, c.lateral, c.ahead) * c.near[:, None],
        ], 1)  # fmt: skip
        in_front, through = near_planes(r, s, t.planes, selected.first if selected else None)
        layers = selected.layers(r) if selected else spirals_and_motes(self.spirals, self.motes, r, s)
        skyline = torch.stack([torch.tanh(c.y / HORIZON_WIDTH), *disc(r)], 1)
        figure = self._figure(r, s, selected)
        return torch.cat([behind * through, in_front, through, *layers, skyline, figure], 1)

    def _figure(self, r: Rays, s: Scene, selected: Selection | None) -> Tensor:
        if selected is not None:
            return body(r, s, selected.ends)[-1]
        if not shows_figure(s):
            return torch.zeros(len(s), BODY_CHANNELS, len(r.screen_y), len(r.screen_x), device=s.time.device)
        return body(r, s, skeleton(s.figure, s.phase)[0])[-1]


class GuidedDecoder(nn.Module):
    """Latents (n, c, rows, columns) and `guide` -> frames (n, 3, 32 * rows, 32 * columns) in 0..1."""

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
        self.of_readings = nn.Linear(config.readings, hidden)
        self.of_edges = nn.Linear(FineTextures.channels, hidden, bias=False)
        self.b = nn.Linear(hidden, guide)
        self.modulate = nn.Linear(config.condition[1], 2 * hidden + 2 * guide)
        self.join_low = nn.Conv2d(FINER**2 * guide, w4, 1)
        self.body_low = Residual(w4)
        self.up = nn.Conv2d(w4, 4 * config.width, 1)
        self.join = nn.Conv2d(guide, config.width, 1)
        self.body = Residual(config.width)
        self.end = nn.Conv2d(config.width, 3 * CELL**2, 3, padding=1)

    def guide(self, s: Scene, readings: Tensor, conditioning: Sequence[Tensor], rows: int, columns: int,
              selected: Selection | None = None) -> Tensor:  # fmt: skip
        """(n, FINER * FINER * shade, TAPS * rows, TAPS * columns), for a grid of rows x columns latents.

        readings: `transformer.Readings.detail`. conditioning: `frame_graphs.guiding`. selected: for a single scene, the
        fine textures that it shows, where they were selected before."""
        edges = self.textures(s, rows, columns, selected)
        cond = self.condition(torch.cat([vector.flatten(1) for vector in conditioning], -1))
        hidden, guide = self.config.shade
        scale_a, shift_a, scale_b, shift_b = self.modulate(cond)[:, :, None].split([hidden, hidden, guide, guide], 1)
        a, bias = self.of_readings.weight * (1 + scale_a), self.of_readings.bias[:, None] + shift_a
        h, w = readings.shape[-2:]
        around = torch.baddbmm(bias, a, readings.flatten(2)).unflatten(-1, (1, h, 1, w))
        x = torch.bmm(self.of_edges.weight * (1 + scale_a), edges.flatten(2)).unflatten(-1, (FINER, h, FINER, w))
        x = (x + around).flatten(2)
        x = torch.baddbmm(self.b.bias[:, None] + shift_b, self.b.weight * (1 + scale_b), F.silu(x))
        x = x.unflatten(-1, (FINER, h, FINER, w)).permute(0, 2, 4, 1, 3, 5)
        return x.flatten(1, 3)

    def forward(self, latents: Tensor, guide: Tensor) -> Tensor:
        return F.pixel_shuffle(self.end(self.features(latents, guide)), CELL) * 0.5 + 0.5

    def features(self, latents: Tensor, guide: Tensor) -> Tensor:
        """(n, width, 8 * rows, 8 * columns): what its last convolution takes."""
        guide = F.silu(guide)
        x = self.body_low(self.low(latents) + self.join_low(guide))
        y = F.pixel_shuffle(self.up(x) + self._joined(guide), FINER)
        return F.silu(self.body(y))

    def _joined(self, guide: Tensor) -> Tensor:
        """`join` of each quarter of the guide, as one convolution, for `pixel_shuffle`."""
        weight, bias = self.join.weight[:, :, 0, 0], self.join.bias
        assert bias is not None
        each = torch.eye(FINER**2, device=weight.device, dtype=weight.dtype)
        joined = torch.einsum("oi,pq->opqi", weight, each).flatten(0, 1).flatten(1)[:, :, None, None]
        return F.conv2d(guide, joined, bias.repeat_interleave(FINER**2))

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
        """Raises ValueError for a file that is missing or does not fit."""
        about, tensors = weight_file.read(path, "the decoder of a nano")
        for name in [name for name in tensors if name.endswith(TABLE)]:
            tensors[name] *= tensors.pop(name + TEXEL_SCALE)
        decoder = cls(GuidedConfig(**weight_file.fields(about)), autoencoder)
        try:
            decoder.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit this version of worldjockey: reinstall worldjockey") from error
        return decoder
