"""The world's network: one stream of prompt, action and video tokens, block-causal in time, with a cache.

A frame is `rows x columns` latents. Beside the noise the network sees the last frame's own latents and predicts how
to carry them over (a gate) and what to change (a residual), in the manner of the stacked frames of DIAMOND (Alonso et
al. 2024). Inside a frame all tokens see each other; over time each place sees its own past through cached keys and
values. Every frame of a training clip has its own noise level (Diffusion Forcing, Chen et al. 2024).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .atlas import Atlas
from .stage.scene import (
    ACT_DIM,
    POSE_DIM,
    SEED_DIM,
    TIME_DIM,
    Scene,
    act_features,
    pose_features,
    time_features,
)
from .stage.vocabulary import ATTRIBUTES, PLACES
from .stage.vocabulary import WIDTH as PROMPT_DIM

PROMPT_TOKENS = len(ATTRIBUTES)
CLOCK_DIM = TIME_DIM + 2  # the clocks, the step's length and the energy


@dataclass(frozen=True)
class WorldConfig:
    """One class for every size: only the numbers differ."""

    channels: int = 32  # of a latent
    rows: int = 18
    columns: int = 32
    patch: int = 2
    width: int = 224
    heads: int = 7
    blocks: int = 5
    temporal: tuple[int, ...] = (1, 3)  # blocks that look back in time
    window: int = 4  # frames they see, the present one included
    trunk: int = 80  # channels of the convolutional path at latent resolution
    expand: int = 3
    carry: bool = False  # hand the last frame's latents on directly: needs training on own rollouts, else it drifts
    atlas: int = 24  # channels of the learned maps of places and gestures

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass
class Conditions:
    """What frames obey, (b, t, ...) each: prompt (5, 8), act (13), pose (26), clock (18), seed (4)."""

    prompt: Tensor
    act: Tensor
    pose: Tensor
    clock: Tensor
    seed: Tensor

    def flat(self) -> Tensor:
        """(b * t, 101)"""
        parts = (self.prompt.flatten(-2), self.act, self.pose, self.clock, self.seed)
        return torch.cat([p.flatten(0, 1) for p in parts], -1)

    @classmethod
    def of(cls, scene: Scene, dt: float) -> Conditions:
        """Conditions (1, n, ...) of n moments in order."""
        rows = [F.pad(getattr(scene, k), (0, PROMPT_DIM - len(v))) for k, v in ATTRIBUTES.items()]
        step = torch.full_like(scene.energy, dt * 10)
        clock = torch.cat([time_features(scene), step[:, None], scene.energy[:, None]], -1)
        parts = (torch.stack(rows, 1), act_features(scene), pose_features(scene), clock, scene.seed)
        return cls(*(p[None] for p in parts))

    @classmethod
    def from_flat(cls, flat: Tensor) -> Conditions:
        """The inverse of `flat` for (b, t, 101)."""
        sizes = (PROMPT_TOKENS * PROMPT_DIM, ACT_DIM, POSE_DIM, CLOCK_DIM, SEED_DIM)
        prompt, *rest = flat.split(sizes, -1)
        return cls(prompt.unflatten(-1, (PROMPT_TOKENS, PROMPT_DIM)), *rest)


CONDITION_DIM = PROMPT_TOKENS * PROMPT_DIM + ACT_DIM + POSE_DIM + CLOCK_DIM + SEED_DIM


def noise_features(level: Tensor) -> Tensor:
    """(n,) noise level 0..1 -> (n, 8)."""
    k = torch.tensor([0.25, 0.5, 1.0, 2.0], device=level.device) * torch.pi
    a = level[:, None] * k
    return torch.cat([a.sin(), a.cos()], -1)


class Attention(nn.Module):
    """Scaled dot-product attention with unit-length queries and keys (QK norm) and a learned sharpness."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.sharpness = nn.Parameter(torch.full((heads, 1, 1), 1.5))
        nn.init.zeros_(self.out.weight)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., n, width) -> q, k, v (..., heads, n, width / heads)"""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).transpose(-4, -2).unbind(-3)
        q = F.normalize(q, dim=-1) * self.sharpness.exp()
        return q, F.normalize(k, dim=-1), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return self.out(y.transpose(-3, -2).flatten(-2))


class Mixer(nn.Module):
    """Feed-forward with a depthwise convolution, so that neighbours in the picture speak directly."""

    def __init__(self, width: int, expand: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width * expand, 1)
        self.near = nn.Conv2d(width * expand, width * expand, 3, padding=1, groups=width * expand)
        self.b = nn.Conv2d(width * expand, width, 1)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, rows: int) -> Tensor:
        """(n, rows * columns, width)"""
        y = x.unflatten(1, (rows, -1)).permute(0, 3, 1, 2)  # channels-last memory without a copy
        y = self.b(F.silu(self.near(self.a(y))))
        return y.permute(0, 2, 3, 1).flatten(1, 2)


class Block(nn.Module):
    def __init__(self, c: WorldConfig, temporal: bool) -> None:
        super().__init__()
        self.space = Attention(c.width, c.heads)
        self.time = Attention(c.width, c.heads) if temporal else None
        if temporal:
            self.age = nn.Parameter(torch.zeros(c.heads, c.window))  # attention bias by how long ago
        self.mixer = Mixer(c.width, c.expand)
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.modulate = nn.Linear(c.width, 6 * c.width)
        nn.init.normal_(self.modulate.weight, std=0.01)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, context: int, cond: Tensor, rows: int, frames: int, past: Past | None) -> Tensor:
        """x: (b * t, context + places, width), cond: (b * t, width)."""
        scale_s, shift_s, gate_s, scale_m, shift_m, gate_m = self.modulate(cond)[:, None].chunk(6, -1)
        y = self.norm(x) * (1 + scale_s) + shift_s
        x = x + (1 + gate_s) * self.space.attend(*self.space.project(y))
        head, video = x[:, :context], x[:, context:]
        if self.time is not None:
            video = video + self._look_back(self.norm(video), frames, past)
        y = self.norm(video) * (1 + scale_m) + shift_m
        video = video + (1 + gate_m) * self.mixer(y, rows)
        return torch.cat([head, video], 1)

    def _look_back(self, y: Tensor, frames: int, past: Past | None) -> Tensor:
        """Causal attention of each place over its own window of time."""
        assert self.time is not None
        n, p, d = y.shape
        y = y.view(n // frames, frames, p, d).transpose(1, 2)  # b p t d
        q, k, v = self.time.project(y)
        if past is not None:
            k, v = past.extend(id(self), k, v)
        length, window = k.shape[-2], self.age.shape[1]
        ages = torch.arange(length - frames, length, device=y.device)[:, None] - torch.arange(length, device=y.device)
        bias = self.age[:, ages.clamp(0, window - 1)].masked_fill((ages < 0) | (ages >= window), float("-inf"))
        return self.time.attend(q, k, v, bias).transpose(1, 2).reshape(n, p, d)


class Past:
    """Keys and values of the frames behind us, per temporal block; constant size once the window is full.

    `extend` puts the present frame's beside them without keeping it; `keep` makes the present the newest past.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.present: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, block: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if block in self.kept:
            old_k, old_v = self.kept[block]
            k, v = torch.cat([old_k, k], -2), torch.cat([old_v, v], -2)
        self.present[block] = (k, v)
        return k, v

    def keep(self) -> None:
        n = self.window - 1
        self.kept = {b: (k[..., -n:, :], v[..., -n:, :]) for b, (k, v) in self.present.items()}

    def copy(self) -> Past:
        """Another past with the same content: tensors are never written in place, so sharing them is safe."""
        twin = Past(self.window)
        twin.kept, twin.present = dict(self.kept), dict(self.present)
        return twin


class Modulated(nn.Module):
    """A residual of two 3x3 convolutions whose middle is scaled and shifted by the conditions."""

    def __init__(self, width: int, cond: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.modulate = nn.Linear(cond, 2 * width)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.modulate.weight, std=0.01)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale, shift = self.modulate(cond)[:, :, None, None].chunk(2, 1)
        return x + self.b(F.silu(self.a(F.silu(x)) * (1 + scale) + shift))


class WorldModel(nn.Module):
    def __init__(self, config: WorldConfig) -> None:
        super().__init__()
        c = self.config = config
        d, places = c.width, (c.rows // c.patch) * (c.columns // c.patch)
        self.cond = nn.Sequential(nn.Linear(CONDITION_DIM + 9, 2 * d), nn.SiLU(), nn.Linear(2 * d, d), nn.SiLU())
        self.prompt = nn.Parameter(torch.randn(PROMPT_TOKENS, PROMPT_DIM, d) * 0.5)
        self.act = nn.Linear(ACT_DIM, d)
        self.pose = nn.Linear(POSE_DIM, d)
        self.clock = nn.Linear(CLOCK_DIM, d)
        self.seed = nn.Linear(SEED_DIM, d)
        self.modality = nn.Parameter(torch.randn(PROMPT_TOKENS + 4, d) * 0.2)
        self.place = nn.Parameter(torch.randn(places, d) * 0.2)
        self.atlas = Atlas(c.rows, c.columns, c.atlas)
        self.stem = nn.Conv2d(2 * c.channels + self.atlas.channels, c.trunk, 3, padding=1)
        self.stem_block = Modulated(c.trunk, d)
        self.patchify = nn.Conv2d(c.trunk, d, c.patch, stride=c.patch)
        self.blocks = nn.ModuleList(Block(c, i in c.temporal) for i in range(c.blocks))
        self.norm = nn.LayerNorm(d, elementwise_affine=False)
        self.unpatchify = nn.Conv2d(d, c.trunk * c.patch**2, 1)
        self.head = nn.ModuleList(Modulated(c.trunk, d) for _ in range(2))
        self.predict = nn.Conv2d(c.trunk, 2 * c.channels, 3, padding=1)
        nn.init.normal_(self.predict.weight, std=0.005)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, noisy: Tensor, last: Tensor, level: Tensor, known: Tensor, conditions: Conditions,
                past: Past | None = None) -> Tensor:  # fmt: skip
        """Predict clean latents.

        noisy, last: (b, t, c, rows, columns), the frame being made and the one before it (zeros where unknown).
        level, known: (b, t) noise level 0..1 of `noisy`, and 1 where `last` is real.
        past: cached keys and values of earlier frames; without it the clip is its own past.
        """
        c = self.config
        b, t = noisy.shape[:2]
        n = b * t
        noise = torch.cat([noise_features(level.flatten()), known.reshape(n, 1)], -1)
        cond = self.cond(torch.cat([conditions.flat(), noise], -1))
        old = last.flatten(0, 1)
        pose, seed, act = (v.flatten(0, 1) for v in (conditions.pose, conditions.seed, conditions.act))
        place = conditions.prompt.flatten(0, 1)[:, list(ATTRIBUTES).index("place"), : len(PLACES)]
        # Pure noise says nothing: it comes in by as much as there is of the picture in it.
        hint = noisy.flatten(0, 1) * (1 - level).reshape(n, 1, 1, 1)
        x = torch.cat([hint, old, self.atlas(pose, seed, place, act)], 1)
        x = x.contiguous(memory_format=torch.channels_last)
        trunk = self.stem_block(self.stem(x), cond)
        video = self.patchify(trunk).flatten(2).transpose(1, 2) + self.place
        prompt = torch.einsum("btkp,kpd->btkd", conditions.prompt, self.prompt).flatten(0, 1)
        others = [self.act(conditions.act), self.pose(conditions.pose), self.clock(conditions.clock)]
        others.append(self.seed(conditions.seed))
        context = torch.cat([prompt, torch.stack([o.flatten(0, 1) for o in others], 1)], 1) + self.modality
        x, k = torch.cat([context, video], 1), context.shape[1]
        for block in self.blocks:
            x = block(x, k, cond, c.rows // c.patch, t, past)
        grid = self.norm(x[:, k:]).unflatten(1, (c.rows // c.patch, -1)).permute(0, 3, 1, 2)
        trunk = trunk + F.pixel_shuffle(self.unpatchify(grid), c.patch)
        for head in self.head:
            trunk = head(trunk, cond)
        gate, change = self.predict(F.silu(trunk)).chunk(2, 1)
        return (old * torch.sigmoid(gate) + change).unflatten(0, (b, t))
