"""The last stage of training: the world's head and the decoder are finetuned together against a critic, for sharpness.

A network trained on differences alone blurs what it is unsure of, and a decoder of such latents blurs it further. Here
a critic (Goodfellow et al. 2014) sees pairs of images, each beside the blurred one (Isola et al. 2017), and learns
which is the stage's (relativistic, Jolicoeur-Martineau 2019; gradient penalty, Mescheder et al. 2018). Head and decoder
learn from the critic's loss and from the difference itself. The rest of the world is frozen: its features are computed
once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..evaluate.metrics import psnr
from ..nano.autoencoder import decode
from ..nano.sampler import levels, noised
from ..nano.transformer import GUIDANCE_MAX, Conditioning, KVCache, predict_latents
from ..nano.world import Nano
from .autoencoder import edges, image_loss
from .clips import SEQUENCES_PER_FILE, Clips, shape_of
from .muon import Rates
from .run import Run

SAMPLED_FRAMES = 3  # of a sequence, spread evenly, its last frame among them
SEQUENCES_PER_BATCH = 10  # sequences that are played in one batch
CRITIC_LR, DECODER_LR, HEAD_LR = 5e-4, 1e-4, 2e-4
CROP_LATENTS = (9, 12)  # latents of an image that the critic sees
BATCH_FRAMES = 6  # the last is drawn from the stage's own latents, without the critic: the decoder must stay exact
CRITIC_WEIGHT = 0.3  # against the difference, both measured by their gradients at the decoder's last layer
FEATURE_WEIGHT = 4.0  # of the distance between the critic's features (Wang et al. 2018), within its loss
LATENT_WEIGHT = 0.05  # of the latents' difference: other parts of the world read them
PENALTY, PENALTY_EVERY = 0.01, 8
NEAR, SMOOTH, DETAIL = 9, 0.02, 0.08  # pixels around, and steps from pixel to pixel (of 1) that are smooth or detail
CRITIC_ONLY_STEPS = 150  # for which the critic learns alone; in a short training fewer
EMA_DECAY = 0.995
REFINED, GUIDED = 0, 1  # kinds of a second pass over a frame


class Critic(nn.Module):
    """(n, 3, h, w) images and their blurred versions -> scores (n, 1, h / 8, w / 8), and the layers' features."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.layers = nn.ModuleList([
            nn.Conv2d(24, w, 3, padding=1), nn.Conv2d(w, 2 * w, 4, 2, 1), nn.Conv2d(2 * w, 4 * w, 4, 2, 1),
            nn.Conv2d(4 * w, 4 * w, 3, padding=1),
        ])  # fmt: skip
        self.score = nn.Conv2d(4 * w, 1, 3, padding=1)
        for layer in (*self.layers, self.score):
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.score.weight, std=0.01)

    def forward(self, image: Tensor, blurred: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = F.pixel_unshuffle(torch.cat([image, blurred], 1), 2), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class FinetunedTail(nn.Module):
    """The part that is finetuned: the end of the world model, and the decoder."""

    def __init__(self, nano: Nano) -> None:
        super().__init__()
        self.head, self.predict, self.decoder = nano.world.head, nano.world.predict, nano.autoencoder.decoder
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", nano.mean, persistent=False)
        self.register_buffer("std", nano.std, persistent=False)

    def latent(self, trunk: Tensor, cond: Tensor) -> Tensor:
        trunk = trunk.float().contiguous(memory_format=torch.channels_last)
        return predict_latents(self.head, self.predict, trunk, cond.float())

    def image(self, latent: Tensor) -> Tensor:
        z = (latent * self.std + self.mean).contiguous(memory_format=torch.channels_last)
        return decode(self.decoder, z)


@dataclass
class CachedFeatures:
    """The frozen part's features of frames of the stage, and those frames as latents and as images (uint8).

    trunk, cond: from pure noise. again_trunk, again_cond: of a second pass; where `kind` is REFINED, over its own first
    prediction under noise, and where it is GUIDED, with guidance; `again` are the latents which that pass predicts.
    """

    latents: Tensor
    images: Tensor
    trunk: Tensor
    cond: Tensor
    again_trunk: Tensor
    again_cond: Tensor
    again: Tensor
    kind: Tensor

    def __len__(self) -> int:
        return len(self.kind)


def _compute(folder: str, weights: str, shard: int, out: str, shape: tuple[int, int]) -> None:
    from ..stage.render import render
    from ..stage.sample import to_bytes

    torch.set_num_threads(1)
    path = Path(folder) / out
    if path.exists():
        return
    nano = Nano.load(Path(weights), device="cpu")
    clips = Clips(**load_file(Path(folder) / f"sequences-{shard:04d}.safetensors"))
    rng = torch.Generator().manual_seed(shard)
    with torch.inference_mode():
        rows = [row for k in range(0, len(clips), SEQUENCES_PER_BATCH) for row in _played(nano, clips, k, rng)]
        found = {k: torch.cat([row[k] for row in rows]).contiguous() for k in rows[0]}
        scenes = clips.scene(slice(None), 0, clips.latents.shape[1])
        sampled = found.pop("at").tolist()
        found["images"] = torch.cat([to_bytes(render(scenes[i : i + 1], *shape)) for i in sampled])
        found["latents"] = clips.latents.flatten(0, 1)[sampled].contiguous()
    tmp = path.with_suffix(".tmp")
    save_file(found, tmp)
    tmp.rename(path)


def _sampled(frames: int) -> list[int]:
    return sorted({round((i + 1) * frames / SAMPLED_FRAMES) - 1 for i in range(SAMPLED_FRAMES)})


def _played(nano: Nano, clips: Clips, first: int, rng: torch.Generator) -> Iterator[dict[str, Tensor]]:
    """Plays some sequences in one step a frame; the features of the sampled frames, and their indices as "at"."""
    pick = slice(first, min(first + SEQUENCES_PER_BATCH, len(clips)))
    frames = clips.latents.shape[1]
    n = pick.stop - pick.start
    conditioning = Conditioning.of(clips.scene(pick, 0, frames), clips.steps(pick, frames))
    cache, pure = KVCache(), torch.ones(n, 1)
    for i in range(frames):
        here = conditioning[torch.arange(n) * frames + i]
        noise = torch.randn(n, 1, *clips.latents.shape[2:], generator=rng)
        trunk, cond = nano.world.features(noise, pure, here, cache)
        before = cache.copy()
        if i in _sampled(frames):
            kind = int(torch.randint(0, 3, (), generator=rng)) // 2  # a third is guided
            level = pure
            if kind == REFINED:
                own = nano.world.latents(trunk, cond)[:, None]
                level = torch.tensor(levels(4)[1:])[torch.randint(0, 3, (n, 1), generator=rng)]
                noise = noised(own, noise, level[..., None, None, None])
            else:
                here.guidance = 1 + (GUIDANCE_MAX - 1) * torch.rand(n, generator=rng)
            again = nano.world.features(noise, level, here, cache)
            yield {
                "trunk": trunk.half(), "cond": cond.half(), "again_trunk": again[0].half(),
                "again_cond": again[1].half(), "again": nano.world.latents(*again).half(),
                "kind": torch.full((n,), kind), "at": torch.arange(pick.start, pick.stop) * frames + i,
            }  # fmt: skip
        cache = before
        cache.commit()


def cached_features(folder: Path, weights: Path, count: int, shape: tuple[int, int], workers: int) -> CachedFeatures:
    """Features of at least `count` sequences of the recipe's own shape, computed once for these weights."""
    numbers = [int(path.stem.rpartition("-")[2]) for path in sorted(folder.glob("sequences-*.safetensors"))]
    shards = [n for n in numbers if shape_of(n, shape) == shape][: -(-count // SEQUENCES_PER_FILE)]
    world = zlib.crc32(weights.read_bytes())
    names = [f"features-{world:08x}-{n:04d}.safetensors" for n in shards]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_compute, str(folder), str(weights), shard, name, shape)
                for shard, name in zip(shards, names, strict=True)]  # fmt: skip
        for i, job in enumerate(jobs):
            job.result()
            if i % 4 == 3:
                print(f"features {(i + 1) * SEQUENCES_PER_FILE}/{count} sequences", flush=True)
    files = [load_file(folder / name) for name in names]
    return CachedFeatures(**{k: torch.cat([f[k] for f in files]) for k in files[0]})


class Trainer:
    """`step(i)` is one update. Deterministic in (seed, i)."""

    def __init__(self, nano: Nano, features: CachedFeatures, *, steps: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.features, self.steps, self.seed = features, steps, seed
        self.critic_only = min(CRITIC_ONLY_STEPS, steps // 20)
        self.tail = FinetunedTail(nano).train().requires_grad_(True)
        self.first = deepcopy(self.tail).eval().requires_grad_(False)  # as it was: its images are the blurred ones
        self.average = deepcopy(self.first)
        self.critic = Critic().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        head = [*self.tail.head.parameters(), *self.tail.predict.parameters()]
        parts = [{"params": list(self.tail.decoder.parameters()), "lr": DECODER_LR}, {"params": head, "lr": HEAD_LR}]
        self.opts = [torch.optim.Adam(parts, betas=(0.0, 0.99)),
                     torch.optim.Adam(self.critic.parameters(), CRITIC_LR, betas=(0.0, 0.99))]  # fmt: skip
        self.rates = Rates(self.opts)
        self.balance = 0.0

    def state(self) -> dict[str, Any]:
        parts = {"tail": self.tail, "average": self.average, "critic": self.critic}
        return {**{k: m.state_dict() for k, m in parts.items()}, "balance": self.balance,
                "optimisers": [o.state_dict() for o in self.opts]}  # fmt: skip

    def load(self, saved: dict[str, Any]) -> None:
        for k in ("tail", "average", "critic"):
            getattr(self, k).load_state_dict(saved[k])
        for o, s in zip(self.opts, saved["optimisers"], strict=True):
            o.load_state_dict(s)
        self.balance = saved["balance"]

    def step(self, i: int) -> dict[str, float]:
        s, rng = self.features, torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        pick = torch.randint(0, len(s), (BATCH_FRAMES,), generator=rng)
        again = i % 3 == 2
        second = (s.kind[pick] == REFINED) & again
        trunk = torch.where(second[:, None, None, None], s.again_trunk[pick], s.trunk[pick])
        cond = torch.where(second[:, None], s.again_cond[pick], s.cond[pick])
        clean = (s.latents[pick].float() - self.tail.mean) / self.tail.std
        exact = torch.arange(BATCH_FRAMES)[:, None, None, None] == BATCH_FRAMES - 1
        drawn = self.tail.latent(trunk, cond)
        with torch.no_grad():
            before = torch.where(exact, clean, self.first.latent(trunk, cond))
        cut = _crops(clean.shape[-2:], rng)
        true = cut(s.images[pick], s.images.shape[-1] // clean.shape[-1]).float() / 255
        with torch.no_grad():
            blurred = self.first.image(cut(before))
        noisy = clean + 0.03 * torch.randn(clean.shape, generator=rng)
        image = self.tail.image(cut(torch.where(exact, noisy, drawn)))
        shown = torch.lerp(true, image, busy(true))
        self.rates.take(min(1.0, (i + 1) / 50) * max(0.05, 1 - i / self.steps))
        critic_loss = self._train_critic(i, true, shown.detach(), blurred)
        if i < self.critic_only:
            return {"critic": critic_loss}
        latent = F.smooth_l1_loss(drawn, clean, beta=0.1)
        if again and bool((guided := s.kind[pick] == GUIDED).any()):
            kept = self.tail.latent(s.again_trunk[pick][guided], s.again_cond[pick][guided])
            latent = latent + F.l1_loss(kept, s.again[pick][guided].float())
        difference = image_loss(image, true)
        criticism = self._criticism(true, shown, blurred)
        if i % 25 == 0 or not self.balance:
            self._weigh(difference, criticism)
        ramp = min(1.0, (i - self.critic_only) / 200)
        loss = difference + LATENT_WEIGHT * latent + ramp * CRITIC_WEIGHT * self.balance * criticism
        self.opts[0].zero_grad(set_to_none=True)
        loss.backward()
        self.opts[0].step()
        with torch.no_grad():
            part = 1 - min(EMA_DECAY, (i - self.critic_only + 1) / (i - self.critic_only + 10))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.tail.parameters()), part)
        return {"critic": critic_loss, "difference": float(difference.detach()), "latent": float(latent.detach())}

    def _train_critic(self, i: int, true: Tensor, image: Tensor, blurred: Tensor) -> float:
        """One update of the critic; its loss, which is 0.69 where it cannot tell the two apart."""
        lazy = i % PENALTY_EVERY == 0
        self.critic.requires_grad_(True)
        shown = true.clone().requires_grad_(lazy)
        real, _ = self.critic(shown, blurred)
        made, _ = self.critic(image[:-1], blurred[:-1])
        plain = F.softplus(made - real[:-1]).mean()
        loss = plain
        if lazy:
            (slope,) = torch.autograd.grad(real.sum(), shown, create_graph=True)
            steep = slope.square().sum((1, 2, 3)).mean() / real[0].numel()
            loss = loss + 0.5 * PENALTY * PENALTY_EVERY * steep
        self.opts[1].zero_grad(set_to_none=True)
        loss.backward()
        self.opts[1].step()
        self.critic.requires_grad_(False)
        return float(plain.detach())

    def _criticism(self, true: Tensor, image: Tensor, blurred: Tensor) -> Tensor:
        """The critic's loss for the images: their scores, and the distance of their features from the true ones'."""
        with torch.no_grad():
            real, wanted = self.critic(true[:-1], blurred[:-1])
        made, features = self.critic(image[:-1], blurred[:-1])
        distance = torch.stack([F.l1_loss(a, b) for a, b in zip(features, wanted, strict=True)]).mean()
        return F.softplus(real - made).mean() + FEATURE_WEIGHT * distance

    def _weigh(self, difference: Tensor, criticism: Tensor) -> None:
        """Balance both losses by their gradients at the decoder's last layer (Esser et al. 2021)."""
        last = self.tail.decoder[-2].weight
        norms = [torch.autograd.grad(v, last, retain_graph=True)[0].norm() for v in (difference, criticism)]
        now = float((norms[0] / (norms[1] + 1e-8)).clamp(0, 10))
        self.balance = now if not self.balance else 0.9 * self.balance + 0.1 * now

    @torch.inference_mode()
    def held_out(self, held: CachedFeatures) -> dict[str, float]:
        """Over unseen frames: PSNR in dB, and the strength of the gradients as a ratio to the stage's."""
        found = []
        for i in range(0, len(held), max(1, len(held) // 12)):
            true = held.images[i : i + 1].float() / 255
            drawn = self.average.latent(held.trunk[i : i + 1], held.cond[i : i + 1])
            image = self.average.image(drawn).clamp(0, 1)
            strength = [sum(float(e.abs().mean()) for e in edges(p)) for p in (image, true)]
            found.append((psnr(image, true), strength[0] / max(strength[1], 1e-6)))
        return dict(zip(("psnr", "edges"), (sum(v) / len(found) for v in zip(*found, strict=True)), strict=True))


def busy(true: Tensor) -> Tensor:
    """(n, 3, h, w) -> (n, 1, h, w), 1 where there is detail nearby. Where all is smooth the critic has no weight:
    the decoder would draw stripes to please it."""
    across, down = edges(true)
    steep = (F.pad(across.abs(), (0, 1)) + F.pad(down.abs(), (0, 0, 0, 1))).amax(1, keepdim=True)
    near = F.avg_pool2d(F.max_pool2d(steep, NEAR, 1, NEAR // 2), NEAR, 1, NEAR // 2)
    return ((near - SMOOTH) / (DETAIL - SMOOTH)).clamp(0, 1)


def _crops(grid: torch.Size, rng: torch.Generator) -> Any:
    """cut(x, scale): the same part of each of BATCH images, or of their latents, whose `grid` is given."""
    rows, columns = (min(a, b) for a, b in zip(CROP_LATENTS, grid, strict=True))
    top, left = (torch.randint(0, g - n + 1, (BATCH_FRAMES,), generator=rng).tolist()
                 for g, n in zip(grid, (rows, columns), strict=True))  # fmt: skip

    def cut(x: Tensor, scale: int = 1) -> Tensor:
        return torch.stack([x[b, :, scale * y : scale * (y + rows), scale * z : scale * (z + columns)]
                            for b, (y, z) in enumerate(zip(top, left, strict=True))]).contiguous(
                                memory_format=torch.channels_last)  # fmt: skip

    return cut


def train(folder: Path, weights: Path, *, steps: int, count: int, shape: tuple[int, int], workers: int,
          seed: int = 0) -> dict[str, Tensor]:  # fmt: skip
    """Resumes from its checkpoint. weights: the world so far, a nano's file. Returns the state of a `FinetunedTail`."""
    features = cached_features(folder, weights, count, shape, workers)
    few = max(1, min(len(features) // 10, 150))
    held, trained = (
        CachedFeatures(**{k: v[part] for k, v in vars(features).items()}) for part in (slice(0, few), slice(few, None))
    )
    trainer = Trainer(Nano.load(weights, device="cpu"), trained, steps=steps, seed=seed)
    run = Run(folder, "finish", steps)
    if saved := run.load():
        trainer.load(saved)
    figures: dict[str, float] = {}
    for i in run:
        figures = trainer.step(i)
        if i % 100 == 99 or i + 1 == steps:
            run.log(**figures, **trainer.held_out(held))
        if run.due():
            run.save(trainer.state())
    return trainer.average.state_dict()
