"""The world's network: one stream of text, look, sound, action and video tokens, block-causal in time, cached.

A frame is `rows x columns` latents. Inside a frame all tokens see each other; over time each place sees its own past
through cached keys and values. Every frame of a training clip has its own noise level (Diffusion Forcing, Chen et al.
2024). What stands where comes from neural textures read along the lines of sight, and the look of this particular world
from the scene's seed, so that the cache carries motion, never the layout: nothing can melt or drift, and a view that
the camera has left is found again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import upload
from ..stage.constants import constant
from ..stage.scene import CLOCK_PERIODS_S, PANORAMA, ROAD, SEED_DIM, SOUND, STREET, Scene, circle
from ..stage.vocabulary import ATTRIBUTES
from ..stage.vocabulary import WIDTH as PROMPT_DIM
from .neural_textures import BEARING_CHANNELS, TAPS, NeuralTextures, bearings
from .sparse_attention import Sparsity, attend

PROMPT_TOKENS = len(ATTRIBUTES)
POSE_DIM, CLOCK_DIM, PHASE_DIM = 26, 2 * 2 * len(CLOCK_PERIODS_S) + 1, 6
RECALL_FRAMES = {"sinks": 1, "local": 2, "far": 4}  # frames of each kind that sparse recall sees
NO_GUIDANCE = 1.0  # guidance that exaggerates nothing
NOISE_FREQUENCIES = (0.25, 0.5, 1.0, 2.0)  # half turns from level 0 to 1
GUIDANCE_MAX = 2.0  # the most guidance that training shows it


@dataclass(frozen=True)
class WorldConfig:
    """One class for every size: only the numbers differ."""

    channels: int = 32  # of a latent
    rows: int = 18
    columns: int = 32
    patch: int = 2
    width: int = 192
    heads: int = 6
    blocks: int = 3
    temporal: tuple[int, ...] = (0, 2)  # blocks that look back in time
    window: int = 4  # frames they see, the present one included
    trunk: int = 128  # channels of the convolutional path at latent resolution
    expand: int = 3
    texture_depth: int = 4  # numbers of a texel of the neural textures
    detail: int = 32  # channels of the path that reads them, TAPS times finer than the latents
    recall: int = (
        0  # frames that every token looks back on sparsely (`sparse`), beside its own place's window; 0 is off
    )


@dataclass
class Conditioning:
    """The conditioning of b * t frames, one row a frame.

    scene: what to show, from the prompt's tokens, the acts, the camera, the clocks and the sound.
    dt: (n,) seconds of this step. guidance: (n,) 1 shows the prompt as it is, more exaggerates it.
    """

    scene: Scene
    dt: Tensor
    guidance: Tensor

    def __getitem__(self, index: slice | Tensor) -> Conditioning:
        return Conditioning(self.scene[index], self.dt[index], self.guidance[index])

    def to(self, device: torch.device) -> Conditioning:
        scene = Scene.of(self.scene.flat().to(device))
        return Conditioning(scene, self.dt.to(device), self.guidance.to(device))

    @classmethod
    def of(cls, scene: Scene, dt: Tensor) -> Conditioning:
        """Without guidance."""
        return cls(scene, dt, torch.full_like(dt, NO_GUIDANCE))

    def prompt(self) -> Tensor:
        """(n, PROMPT_TOKENS, PROMPT_DIM)"""
        rows = [F.pad(getattr(self.scene, k), (0, PROMPT_DIM - len(v))) for k, v in ATTRIBUTES.items()]
        return torch.stack(rows, 1)

    def pose(self) -> Tensor:
        """(n, 26): where the camera is."""
        s = self.scene
        turns = [circle(v, period, (1, 2, 4, 8)) for v, period in ((s.yaw, PANORAMA), (s.x, STREET), (s.z, ROAD))]
        return torch.cat([*turns, s.pitch[:, None] * 2, s.zoom.log()[:, None] * 2], -1)

    def clock(self) -> Tensor:
        """(n, 17): every clock of the world, and the step's length."""
        turns = [circle(self.scene.time, period, (1, 2)) for period in CLOCK_PERIODS_S]
        return torch.cat([*turns, self.dt[:, None] * 10], -1)

    def phase(self) -> Tensor:
        return circle(self.scene.phase, 1.0, (1, 2, 3))

    def vectors(self) -> Vectors:
        others = (self.phase(), self.pose(), self.clock(), self.scene.seed, self.scene.sound)
        return Vectors(self.prompt(), others, self.guidance)


@dataclass(frozen=True)
class Vectors:
    """The conditioning of n frames as the network takes it: prompt (n, PROMPT_TOKENS, PROMPT_DIM), the values of each
    further context token (n, its size), and guidance (n,)."""

    prompt: Tensor
    others: tuple[Tensor, ...]
    guidance: Tensor

    def to(self, device: torch.device) -> Vectors:
        prompt, guidance, *others = upload([self.prompt, self.guidance, *self.others], device)
        return Vectors(prompt, tuple(others), guidance)


@dataclass(frozen=True)
class Readings:
    """What n scenes alone determine, at every noise level: the textures' readings (n, channels, TAPS * rows,
    TAPS * columns), and the bearings of each column (n, BEARING_CHANNELS, rows, columns)."""

    detail: Tensor
    bearings: Tensor


OTHERS = (PHASE_DIM, POSE_DIM, CLOCK_DIM, SEED_DIM, len(SOUND))  # sizes of `Vectors.others`
GLOBAL_DIM = PROMPT_TOKENS * PROMPT_DIM + sum(OTHERS) + 1 + 8


def noise_features(level: Tensor) -> Tensor:
    """(n,) noise level 0..1 -> (n, 8)."""
    k = constant(NOISE_FREQUENCIES, level) * torch.pi
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
    """Feed-forward with a depthwise convolution, so that neighbours in the frame speak directly."""

    def __init__(self, width: int, expand: int) -> None:
        super().__init__()
        self.a = nn.Linear(width, width * expand)
        self.near = nn.Conv2d(width * expand, width * expand, 3, padding=1, groups=width * expand)
        self.b = nn.Linear(width * expand, width)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        """(n, rows * columns, width)"""
        y = self.a(x).unflatten(1, (rows, -1)).permute(0, 3, 1, 2)  # channels-last memory without a copy
        return self.b(F.silu(self.near(y)).permute(0, 2, 3, 1).flatten(1, 2))


class Block(nn.Module):
    def __init__(self, c: WorldConfig, temporal: bool) -> None:
        super().__init__()
        self.space = Attention(c.width, c.heads)
        self.time = Attention(c.width, c.heads) if temporal else None
        if temporal:
            self.age = nn.Parameter(torch.zeros(c.heads, c.window))  # attention bias by how long ago
        self.layer = (id(self), "near")  # this block's name in a `KVCache`
        self.far = Attention(c.width, c.heads) if temporal and c.recall else None
        self.recall = c.recall
        self.mixer = Mixer(c.width, c.expand)
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.modulate = nn.Linear(c.width, 6 * c.width)
        nn.init.normal_(self.modulate.weight, std=0.01)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, context: int, cond: Tensor, rows: int, frames: int, cache: KVCache | None) -> Tensor:
        """x: (b * t, context + places, width), cond: (b * t, width)."""
        scale_s, shift_s, gate_s, scale_m, shift_m, gate_m = self.modulate(cond)[:, None].chunk(6, -1)
        y = self.norm(x) * (1 + scale_s) + shift_s
        x = x + (1 + gate_s) * self.space.attend(*self.space.project(y))
        head, video = x[:, :context], x[:, context:]
        if self.time is not None:
            video = video + self._look_back(self.norm(video), frames, cache)
        if self.far is not None:
            video = video + self._look_far(self.norm(video), frames, cache)
        y = self.norm(video) * (1 + scale_m) + shift_m
        video = video + (1 + gate_m) * self.mixer(y, rows)
        return torch.cat([head, video], 1)

    def _look_back(self, y: Tensor, frames: int, cache: KVCache | None) -> Tensor:
        """Causal attention of each place over its own window of time."""
        assert self.time is not None
        n, p, d = y.shape
        y = y.view(n // frames, frames, p, d).transpose(1, 2)  # b p t d
        q, k, v = self.time.project(y)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v, self.age.shape[1] - 1)
        length, window = k.shape[-2], self.age.shape[1]
        ages = torch.arange(length - frames, length, device=y.device)[:, None] - torch.arange(length, device=y.device)
        bias = self.age[:, ages.clamp(0, window - 1)].masked_fill((ages < 0) | (ages >= window), float("-inf"))
        if cache is not None and cache.missing is not None:
            bias = bias + cache.missing
        return self.time.attend(q, k, v, bias).transpose(1, 2).reshape(n, p, d)

    def _look_far(self, y: Tensor, frames: int, cache: KVCache | None) -> Tensor:
        """Every token's sparse attention over whole frames: the first, the latest, and those that score best."""
        assert self.far is not None
        n, p, d = y.shape
        q, k, v = self.far.project(y.reshape(n // frames, frames * p, d))
        if cache is not None:
            k, v = cache.extend((id(self), "far"), k, v, (self.recall - 1) * p)
        seen = attend(q, k, v, Sparsity(block=p, **RECALL_FRAMES), scale=1.0)
        return self.far.out(seen.transpose(-3, -2).flatten(-2)).view(n, p, d)


class KVCache:
    """Keys and values of earlier frames, for each attention layer; constant in size once full.

    `extend` appends those of the present frame for one forward pass; `commit` makes them the newest of the cache.
    """

    missing: Tensor | None = None  # (1, length), added to attention's scores: far below 0 for padding

    def __init__(self) -> None:
        self.committed: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
        self.pending: dict[tuple[int, str], tuple[Tensor, Tensor, int]] = {}

    def extend(self, layer: tuple[int, str], k: Tensor, v: Tensor, limit: int) -> tuple[Tensor, Tensor]:
        """The cached keys and values of a layer followed by `k` and `v`. limit: tokens that `commit` keeps."""
        if layer in self.committed:
            old_k, old_v = self.committed[layer]
            k, v = torch.cat([old_k, k], -2), torch.cat([old_v, v], -2)
        self.pending[layer] = (k, v, limit)
        return k, v

    def commit(self) -> None:
        self.committed = {layer: (k[..., -n:, :], v[..., -n:, :]) for layer, (k, v, n) in self.pending.items() if n}

    def copy(self) -> KVCache:
        """Another cache with the same content. Tensors are never written in place, so sharing them is safe."""
        twin = KVCache()
        twin.committed, twin.pending = dict(self.committed), dict(self.pending)
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


class DetailPath(nn.Module):
    """Shades the texture readings, each on its own under the conditioning, and gathers those of each latent."""

    def __init__(self, inputs: int, width: int, trunk: int, cond: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(inputs, width), nn.Linear(width, width)
        self.modulate = nn.Linear(cond, 4 * width)
        self.gather = nn.Linear(width * TAPS**2, trunk, bias=False)
        nn.init.normal_(self.modulate.weight, std=0.01)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, read: Tensor, cond: Tensor) -> Tensor:
        """(n, inputs, TAPS * rows, TAPS * columns) -> (n, trunk, rows, columns), channels last in memory."""
        h, w = read.shape[-2:]
        scale_a, shift_a, scale_b, shift_b = self.modulate(cond)[:, :, None].chunk(4, 1)
        # The conditions go into the weights, which are smaller than what they weigh.
        x = F.silu(torch.baddbmm(self.a.bias[:, None] + shift_a, self.a.weight * (1 + scale_a), read.flatten(2)))
        x = F.silu(torch.baddbmm(self.b.bias[:, None] + shift_b, self.b.weight * (1 + scale_b), x))
        rows = F.pixel_unshuffle(x.unflatten(-1, (h, w)), TAPS)
        return self.gather(rows.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class WorldModel(nn.Module):
    def __init__(self, config: WorldConfig) -> None:
        super().__init__()
        c = self.config = config
        d = c.width
        self.cond = nn.Sequential(nn.Linear(GLOBAL_DIM, 2 * d), nn.SiLU(), nn.Linear(2 * d, d), nn.SiLU())
        self.prompt = nn.Parameter(torch.randn(PROMPT_TOKENS, PROMPT_DIM, d) * 0.5)
        self.others = nn.ModuleList(nn.Linear(size, d) for size in OTHERS)
        self.modality = nn.Parameter(torch.randn(PROMPT_TOKENS + len(OTHERS), d) * 0.2)
        self.textures = NeuralTextures(c.texture_depth)
        self.detail = DetailPath(self.textures.channels, c.detail, c.trunk, d)
        self.stem = nn.Conv2d(c.channels + BEARING_CHANNELS, c.trunk, 1)
        self.body = Modulated(c.trunk, d)
        self.patchify = nn.Conv2d(c.trunk, d, c.patch, stride=c.patch)
        self.blocks = nn.ModuleList(Block(c, i in c.temporal) for i in range(c.blocks))
        self.norm = nn.LayerNorm(d, elementwise_affine=False)
        self.unpatchify = nn.Linear(d, c.trunk * c.patch**2)
        self.head = nn.ModuleList(Modulated(c.trunk, d) for _ in range(2))
        self.predict = nn.Conv2d(c.trunk, c.channels, 3, padding=1)
        nn.init.normal_(self.predict.weight, std=0.01)
        nn.init.zeros_(self.predict.bias)  # type: ignore[arg-type]

    def forward(self, noisy: Tensor, level: Tensor, conditioning: Conditioning, cache: KVCache | None = None) -> Tensor:
        """Predict clean latents (b, t, c, rows, columns).

        noisy: (b, t, c, rows, columns) of any shape whose sides the patch divides. level: (b, t) its noise level 0..1.
        cache: keys and values of earlier frames; without it frames attend to those of the clip alone.
        """
        trunk, cond = self.features(noisy, level, conditioning, cache)
        return self.latents(trunk, cond).unflatten(0, noisy.shape[:2])

    def features(
        self, noisy: Tensor, level: Tensor, conditioning: Conditioning, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor]:
        """All of `forward` but its end: features (b * t, trunk, rows, columns), and the conditioning (b * t, width)."""
        readings = self.read(conditioning.scene, *noisy.shape[-2:])
        return self.denoise(
            noisy.flatten(0, 1), level.flatten(), conditioning.vectors(), readings, noisy.shape[1], cache
        )

    def read(self, scene: Scene, rows: int, columns: int) -> Readings:
        """Read the textures along the lines of sight of n scenes."""
        return Readings(self.textures(scene, rows, columns), bearings(scene, rows, columns))

    def denoise(self, noisy: Tensor, level: Tensor, vectors: Vectors, readings: Readings, frames: int,
                cache: KVCache | None = None) -> tuple[Tensor, Tensor]:  # fmt: skip
        """What of `features` depends on the noise. noisy: (b * frames, c, rows, columns). level: (b * frames,)."""
        c, rows = self.config, noisy.shape[-2]
        guidance = vectors.guidance[:, None] - NO_GUIDANCE
        cond = self.cond(torch.cat([vectors.prompt.flatten(1), *vectors.others, guidance, noise_features(level)], -1))
        # Noise carries no information: the input is weighted by the share of the clean frame in it.
        hint = noisy * (1 - level)[:, None, None, None]
        x = torch.cat([hint, readings.bearings], 1)
        trunk = self.stem(x.contiguous(memory_format=torch.channels_last))
        trunk = trunk + self.detail(readings.detail, cond)
        trunk = self.body(trunk, cond)
        video = self.patchify(trunk).flatten(2).transpose(1, 2)
        tokens = torch.einsum("nkp,kpd->nkd", vectors.prompt, self.prompt)
        rest = torch.stack([embed(v) for embed, v in zip(self.others, vectors.others, strict=True)], 1)
        context = torch.cat([tokens, rest], 1) + self.modality
        x, k = torch.cat([context, video], 1), context.shape[1]
        for block in self.blocks:
            x = block(x, k, cond, rows // c.patch, frames, cache)
        grid = self.unpatchify(self.norm(x[:, k:])).unflatten(1, (rows // c.patch, -1)).permute(0, 3, 1, 2)
        return trunk + F.pixel_shuffle(grid, c.patch), cond

    def latents(self, trunk: Tensor, cond: Tensor) -> Tensor:
        """Features -> latents (b * t, c, rows, columns)."""
        return predict_latents(self.head, self.predict, trunk, cond)


def predict_latents(head: nn.ModuleList, predict: nn.Module, trunk: Tensor, cond: Tensor) -> Tensor:
    """The end of the network, which `train.adversarial` finetunes."""
    for layer in head:
        trunk = layer(trunk, cond)
    return predict(F.silu(trunk))
