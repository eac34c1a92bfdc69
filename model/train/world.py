"""Trains the world model on clips of the stage.

The network predicts the clean frame from noise at once (one step), because the prompt, the clocks and the camera
determine it: there is nothing to fold, and a consistency or distribution-matching teacher would only be a worse
teacher than the stage itself. What further steps are for is taught on the model's own frames: every fourth batch it
sees its own first prediction under noise and learns what is still wrong with it. In the second half guidance is folded
in: asked for more than 1, it learns the frame pushed away from what it would draw unprompted (Ho & Salimans 2022),
so that no second pass is ever needed.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nano.autoencoder import AutoencoderConfig
from ..nano.sampler import levels, noised, sample
from ..nano.transformer import GUIDANCE_MAX, Conditioning, KVCache, WorldConfig, WorldModel
from ..stage.scene import Scene
from ..stage.vocabulary import ATTRIBUTES
from .clips import Clips, stage_clips
from .fsdp import Team, full_state, load_model, load_optimiser, shard
from .muon import Rates, optimisers
from .run import Run

HELD_OUT_SEQUENCES = 24  # sequences of the first shape that are never trained on
SINGLE_FRAME_SHARE = 0.7  # share of batches that are single frames; the rest are clips of the window's length
UNPROMPTED_SHARE = 0.04  # share of frames without any prompt
REFINE_INTERVAL_STEPS = 4
GUIDED_FROM, GUIDED_SHARE = 0.5, 0.3
EMA_DECAY = 0.998
FIGURE_WEIGHT = 1.0  # by which the loss weighs the figure's part of the frame more,
FIGURE_COLUMNS = 14  # the middle ones


@torch.no_grad()
def rollout(
    model: nn.Module, conditioning: Conditioning, shape: torch.Size, steps: int, generator: torch.Generator
) -> Tensor:
    """(b, t, c, rows, columns) played from nothing, frame by frame with a cache."""
    b, t = shape[:2]
    device = conditioning.dt.device
    cache, out = KVCache(), []
    for i in range(t):
        here = conditioning[torch.arange(b) * t + i]

        def predict(noisy: Tensor, level: float, here: Conditioning = here) -> Tensor:
            return model(noisy, torch.full((b, 1), level, device=device), here, cache)

        out.append(sample(predict, torch.randn(b, 1, *shape[2:], generator=generator).to(device), steps))
        cache.commit()
    return torch.cat(out, 1)


def without_prompt(scene: Scene, where: Tensor) -> Scene:
    """The scene with its prompt set to zeros where `where` (n,) is true."""
    keep = (~where).float()[:, None]
    prompt = {k: getattr(scene, k) * keep for k in ATTRIBUTES}
    return Scene(**{**scene.__dict__, **prompt})


def loss_weights(scene: Scene, rows: int, columns: int) -> Tensor:
    """(n, rows, columns) the weight of each latent in the loss: where a figure stands, the audience looks."""
    weight = torch.ones(len(scene), rows, columns)
    left = max(0, (columns - FIGURE_COLUMNS) // 2)
    someone = (1 - scene.figure[:, 0])[:, None, None]
    weight[:, :, left : left + FIGURE_COLUMNS] += FIGURE_WEIGHT * someone
    return weight


class Trainer:
    """One model in training; `step(i)` is one update. Deterministic in (seed, i)."""

    def __init__(self, config: WorldConfig, groups: list[Clips], *, steps: int, batch: int, seed: int,
                 matrix_lr: float, team: Team | None = None) -> None:  # fmt: skip
        self.team = team or Team()
        torch.manual_seed(seed)
        self.config, self.groups, self.steps, self.batch, self.seed = config, groups, steps, batch, seed
        few = groups[0].latents[:: max(1, len(groups[0]) // 200)].float()
        self.mean, self.std = few.mean((0, 1, 3, 4)), few.std((0, 1, 3, 4))
        model = WorldModel(config).to(self.team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = deepcopy(model).eval()
        self.model, self.average = (shard(m, self.team) for m in (model, average))
        self.opts = optimisers(self.model, lr=1e-3, matrix_lr=matrix_lr)
        self.rates = Rates(self.opts)

    def state(self) -> dict[str, Any]:
        """The full state, on however many processes. All of them must call this; only the leader gets the tensors."""
        keep = self.team.leads
        return {
            "model": full_state(self.model.state_dict(), keep),
            "average": full_state(self.average.state_dict(), keep),
            "optimisers": [full_state(o.state_dict(), keep) for o in self.opts],
        }

    def load(self, saved: dict[str, Any]) -> None:
        load_model(self.model, saved["model"])
        load_model(self.average, saved["average"])
        for o, s in zip(self.opts, saved["optimisers"], strict=True):
            load_optimiser(o, s)

    def normal(self, latents: Tensor) -> Tensor:
        spread = (1, 1, -1, 1, 1)
        return (latents.float() - self.mean.view(spread)) / self.std.view(spread)

    def draw(self, rng: torch.Generator) -> tuple[Tensor, Conditioning]:
        """Clean latents (b, t, ...) and their conditioning."""
        sizes = torch.tensor([float(len(g)) for g in self.groups])
        which = int(torch.multinomial(sizes, 1, generator=rng))
        group, held = self.groups[which], HELD_OUT_SEQUENCES if which == 0 else 0
        frames = group.latents.shape[1]
        window = min(frames, self.config.window)
        clip = 1 if torch.rand((), generator=rng) < SINGLE_FRAME_SHARE else window
        clips = self.batch * window // clip
        pick = torch.randint(0, max(1, len(group) - held), (clips,), generator=rng)
        start = int(torch.randint(0, frames - clip + 1, (), generator=rng))
        clean = self.normal(group.latents[pick][:, start : start + clip])
        unprompted = (torch.rand(clips, generator=rng) < UNPROMPTED_SHARE).repeat_interleave(clip)
        scene = without_prompt(group.scene(pick, start, clip), unprompted)
        return clean, Conditioning.of(scene, group.steps(pick, clip))

    def step(self, i: int) -> float:
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        done = i / self.steps
        self.rates.take(min(1.0, (i + 1) / 100) * max(0.01, 1 - done))
        for o in self.opts:
            o.zero_grad(set_to_none=True)
        clean, conditioning = self.draw(rng)
        b, t = clean.shape[:2]
        noise, level = torch.randn(clean.shape, generator=rng), torch.ones(b, t)
        refines = i % REFINE_INTERVAL_STEPS == REFINE_INTERVAL_STEPS - 1
        guided = not refines and done > GUIDED_FROM and float(torch.rand((), generator=rng)) < GUIDED_SHARE
        if refines:
            later = torch.tensor(levels(4)[1:])[torch.randint(0, 3, (b, t), generator=rng)]
            level = torch.where(torch.rand(b, 1, generator=rng) < 0.5, later, level)
        guidance = 1 + (GUIDANCE_MAX - 1) * torch.rand(b, generator=rng) if guided else torch.ones(b)
        weight = loss_weights(conditioning.scene, clean.shape[-2], clean.shape[-1])
        scale = weight.mean()
        # All random numbers are drawn: from here on every process works on its own clips.
        mine = self.team.share(b)
        frames = (mine[:, None] * t + torch.arange(t)).flatten()
        clean, noise, level, guidance = (v[mine].to(self.team.device) for v in (clean, noise, level, guidance))
        conditioning, weight = conditioning[frames].to(self.team.device), weight[frames].to(self.team.device)
        noisy, target = noise, clean
        if refines:
            with torch.no_grad():
                own = self.model(noise, torch.ones_like(level), conditioning)
            noisy = noised(own, noise, level[..., None, None, None])
        elif guided:
            with torch.no_grad():
                everything = torch.ones(len(frames), dtype=torch.bool, device=self.team.device)
                unprompted = replace(conditioning, scene=without_prompt(conditioning.scene, everything))
                plain = self.average(noise, level, unprompted)
            conditioning.guidance = guidance.repeat_interleave(t)
            target = clean + (guidance - 1)[:, None, None, None, None] * (clean - plain)
        error = F.smooth_l1_loss(self.model(noisy, level, conditioning), target, beta=0.1, reduction="none")
        loss = (error.mean(2).flatten(0, 1) * weight).mean() / scale
        loss.backward()
        for o in self.opts:
            o.step()
        with torch.no_grad():
            part = 1 - min(EMA_DECAY, (i + 1) / (i + 20))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), part)
        return float(self.team.mean(loss.detach()))

    def held_out(self) -> dict[str, float]:
        """Mean absolute error of the first and the last frame of unseen sequences, played in one step."""
        group = self.groups[0]
        count, frames = min(HELD_OUT_SEQUENCES, len(group)), group.latents.shape[1]
        truth = self.normal(group.latents[-count:])
        last = slice(-count, None)
        conditioning = Conditioning.of(group.scene(last, 0, frames), group.steps(last, frames))
        played = rollout(
            self.average, conditioning.to(self.team.device), truth.shape, 1, torch.Generator().manual_seed(1)
        )
        errors = (played.cpu() - truth).abs().mean((0, 2, 3, 4))
        return {"first": float(errors[0]), "later": float(errors[-1])}


def train(
    folder: Path, config: WorldConfig, ae: AutoencoderConfig, *, steps: int, count: int, frames: int,
    shape: tuple[int, int], batch: int = 8, workers: int = 2, seed: int = 0, matrix_lr: float = 0.006,
    team: Team | None = None,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:  # fmt: skip
    """Resumes from its checkpoint. Returns the averaged model's state and the latents' mean and deviation a channel."""
    team = team or Team()
    if team.leads:
        stage_clips(folder, count, frames, shape, ae, workers)
    team.wait()
    groups = stage_clips(folder, count, frames, shape, ae, workers)
    trainer = Trainer(config, groups, steps=steps, batch=batch, seed=seed, matrix_lr=matrix_lr, team=team)
    run = Run(folder, "world", steps, quiet=not team.leads)
    saved = run.load()
    if saved:
        trainer.load(saved)
    losses: list[float] = []
    for i in run:
        losses.append(trainer.step(i))
        if i % 100 == 99 or i + 1 == steps:
            run.log(loss=sum(losses) / len(losses), **trainer.held_out())
            losses.clear()
        if team.agrees(run.due()):
            state = trainer.state()
            if team.leads:
                run.save(state)
    return full_state(trainer.average.state_dict()), trainer.mean, trainer.std
