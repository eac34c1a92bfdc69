"""Trains the world model on sequences of the stage, in the latents of a trained autoencoder."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from .autoencoder import Autoencoder, AutoencoderConfig
from .muon import optimisers
from .runlog import Run
from .sampler import noised, sample
from .transformer import Conditions, Past, WorldConfig, WorldModel

SHARD = 50  # sequences a file


def _paint(folder: str, shard: int, frames: int, shape: tuple[int, int], config: AutoencoderConfig) -> int:
    from .stage.render import render
    from .stage.sample import sequence, to_bytes

    torch.set_num_threads(1)
    path = Path(folder) / f"sequences-{shard:04d}.safetensors"
    if path.exists():
        return shard
    model = Autoencoder(config)
    model.load_state_dict(torch.load(Path(folder) / "autoencoder.pt", weights_only=True)["state"]["model"])
    model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    latents, conditions = [], []
    with torch.inference_mode():
        for i in range(SHARD):
            s = sequence(100_000 + shard * SHARD + i, frames)
            pictures = [to_bytes(render(s.scene[k : k + 1], *shape)).float() / 255 for k in range(frames)]
            latents.append(torch.cat([model.encode(p) for p in pictures]).half())
            conditions.append(Conditions.of(s.scene, s.dt).flat())
    tmp = path.with_suffix(".tmp")
    save_file({"latents": torch.stack(latents).contiguous(), "conditions": torch.stack(conditions)}, tmp)
    tmp.rename(path)
    return shard


def sequences(folder: Path, count: int, frames: int, shape: tuple[int, int], config: AutoencoderConfig,
              workers: int) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Latents (count, frames, c, rows, columns) fp16 and conditions (count, frames, 101); drawn once, kept on disk."""
    shards = -(-count // SHARD)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_paint, str(folder), i, frames, shape, config) for i in range(shards)]
        for i, job in enumerate(jobs):
            job.result()
            if i % 4 == 3:
                print(f"stage {(i + 1) * SHARD}/{count} sequences", flush=True)
    files = [load_file(folder / f"sequences-{i:04d}.safetensors") for i in range(shards)]
    return torch.cat([f["latents"] for f in files]), torch.cat([f["conditions"] for f in files])


def shifted(clean: Tensor) -> tuple[Tensor, Tensor]:
    """What came before each frame (zeros before the first), and (b, t) 1 where that is known."""
    last = torch.cat([torch.zeros_like(clean[:, :1]), clean[:, :-1]], 1)
    known = torch.ones(clean.shape[:2])
    known[:, 0] = 0
    return last, known


@torch.no_grad()
def rollout(
    model: WorldModel, conditions: Conditions, shape: torch.Size, steps: int, generator: torch.Generator
) -> Tensor:
    """(b, t, c, rows, columns) played from nothing, every frame from the model's own last one."""
    b, t = shape[:2]
    past = Past(model.config.window)
    last, out = torch.zeros(b, 1, *shape[2:]), []
    for i in range(t):
        here = Conditions.from_flat(conditions.flat().unflatten(0, (b, t))[:, i : i + 1])
        known = torch.full((b, 1), float(i > 0 and model.config.carry))

        def predict(
            noisy: Tensor,
            level: float,
            last: Tensor = last * known[..., None, None, None],
            known: Tensor = known,
            here: Conditions = here,
        ) -> Tensor:
            return model(noisy, last, torch.full((b, 1), level), known, here, past)

        last = sample(predict, torch.randn(b, 1, *shape[2:], generator=generator), steps)
        past.keep()
        out.append(last)
    return torch.cat(out, 1)


def train(
    folder: Path,
    config: WorldConfig,
    ae: AutoencoderConfig,
    *,
    steps: int,
    count: int,
    frames: int,
    shape: tuple[int, int],
    batch: int = 2,
    workers: int = 2,
    seed: int = 0,
    matrix_lr: float = 0.015,
) -> tuple[WorldModel, Tensor, Tensor]:
    """Resumes by itself. Returns the averaged model and the latents' mean and deviation per channel."""
    torch.manual_seed(seed)
    latents, flat = sequences(folder, count, frames, shape, ae, workers)
    sample_of = latents[:: max(1, count // 200)].float()
    mean, std = sample_of.mean((0, 1, 3, 4)), sample_of.std((0, 1, 3, 4))
    spread = (1, 1, -1, 1, 1)

    def normal(i: Tensor | slice) -> Tensor:
        return (latents[i].float() - mean.view(spread)) / std.view(spread)

    held, window = 24, min(frames, config.window)
    model = WorldModel(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(model).eval()
    opts = optimisers(model, lr=2e-3, matrix_lr=matrix_lr)
    run = Run(folder, "world", steps)
    saved = run.load()
    if saved:
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        for o, s in zip(opts, saved["optimisers"], strict=True):
            o.load_state_dict(s)
    base = [2e-3 if isinstance(o, torch.optim.AdamW) else matrix_lr for o in opts]
    total = 0.0
    for step in run:
        rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
        done = step / steps
        rate = min(1.0, (step + 1) / 100) * max(0.02, 1 - done)
        for o, lr in zip(opts, base, strict=True):
            for g in o.param_groups:
                g["lr"] = lr * rate
            o.zero_grad(set_to_none=True)
        # Single moments teach what the world looks like, clips how it goes on; both cost the same.
        clip = 1 if torch.rand((), generator=rng) < 0.6 else window
        clips = batch * window // clip
        pick = torch.randint(0, count - held, (clips,), generator=rng)
        start = int(torch.randint(0, frames - clip + 1, (), generator=rng))
        clean = normal(pick)[:, start : start + clip]
        conditions = Conditions.from_flat(flat[pick][:, start : start + clip])
        level = torch.rand(clips, clip, generator=rng)
        level = torch.where(torch.rand(clips, clip, generator=rng) < 0.7, torch.ones(()), level)
        noise = torch.randn(clean.shape, generator=rng)
        noisy = noised(clean, noise, level[..., None, None, None])
        last, known = shifted(clean)
        known = known * float(config.carry)
        # Drift: half of the clips, once the model can draw, continue what it drew itself.
        if config.carry and clip > 1 and done > 0.3 and torch.rand((), generator=rng) < 0.5:
            with torch.no_grad():
                own = clean
                for _ in range(1 + int(done > 0.6)):
                    before = shifted(own)[0] * known[..., None, None, None]
                    own = model(noise, before, torch.ones_like(level), known, conditions)
            last, _ = shifted(own)
        blur = 0.35 * torch.rand(clips, 1, 1, 1, 1, generator=rng) ** 2
        last = (last + blur * torch.randn(last.shape, generator=rng)) * known[..., None, None, None]
        out = model(noisy, last, level, known, conditions)
        loss = F.smooth_l1_loss(out, clean, beta=0.1)
        loss.backward()
        for o in opts:
            o.step()
        total += float(loss.detach())
        with torch.no_grad():
            weight = 1 - min(0.999, (step + 1) / (step + 20))
            for a, p in zip(average.parameters(), model.parameters(), strict=True):
                a.lerp_(p, weight)
        if step % 100 == 99 or step + 1 == steps:
            truth = normal(slice(count - held, count))
            dice = torch.Generator().manual_seed(1)
            played = rollout(average, Conditions.from_flat(flat[count - held :]), truth.shape, 1, dice)
            errors = (played - truth).abs().mean((0, 2, 3, 4))
            run.log(loss=total / (step % 100 + 1), first=float(errors[0]), later=float(errors[-1]))
            total = 0.0
        if run.due():
            run.save({"model": model.state_dict(), "average": average.state_dict(),
                      "optimisers": [o.state_dict() for o in opts]})  # fmt: skip
    return average, mean, std
