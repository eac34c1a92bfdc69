"""Sequences of the stage in the latents of a trained autoencoder: what the world model learns from, kept on disk."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..nano.autoencoder import Autoencoder, AutoencoderConfig
from ..stage.scene import Scene

SEQUENCES_PER_FILE = 50  # sequences a file
FIRST_SEED = 100_000
FILE = "sequences-{:04d}.safetensors"
SHAPE_PERIOD = 12  # of so many files one is 9:16 and one is 1:1; the rest have the recipe's own shape


@dataclass
class Clips:
    """Sequences of one shape: latents (count, frames, c, rows, columns) fp16, scenes (count, frames, SCENE_DIM) and
    dt (count,), seconds a step."""

    latents: Tensor
    scenes: Tensor
    dt: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def scene(self, pick: Tensor | slice, start: int, frames: int) -> Scene:
        return Scene.of(self.scenes[pick][:, start : start + frames].flatten(0, 1))

    def steps(self, pick: Tensor | slice, frames: int) -> Tensor:
        """(b * frames,) seconds of each step."""
        return self.dt[pick].repeat_interleave(frames)


def shape_of(shard: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a file's images: landscape, now and then portrait or square with the same short side."""
    height, width = shape
    return {SHAPE_PERIOD - 2: (width, height), SHAPE_PERIOD - 1: (height, height)}.get(shard % SHAPE_PERIOD, shape)


def _paint(folder: str, shard: int, frames: int, shape: tuple[int, int], config: AutoencoderConfig) -> int:
    from ..stage.render import render
    from ..stage.sample import sequence, to_bytes

    torch.set_num_threads(1)
    path = Path(folder) / FILE.format(shard)
    model = Autoencoder(config)
    model.load_state_dict(torch.load(Path(folder) / "autoencoder.pt", weights_only=True)["state"]["model"])
    model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    latents, scenes, dt = [], [], []
    with torch.inference_mode():
        for i in range(SEQUENCES_PER_FILE):
            s = sequence(FIRST_SEED + shard * SEQUENCES_PER_FILE + i, frames)
            images = [to_bytes(render(s.scene[k : k + 1], *shape)).float() / 255 for k in range(frames)]
            latents.append(torch.cat([model.encode(p) for p in images]).half())
            scenes.append(s.scene.flat())
            dt.append(s.dt)
    tmp = path.with_suffix(".tmp")
    save_file(
        {"latents": torch.stack(latents).contiguous(), "scenes": torch.stack(scenes), "dt": torch.tensor(dt)}, tmp
    )
    tmp.rename(path)
    return shard


def stage_clips(folder: Path, count: int, frames: int, shape: tuple[int, int], config: AutoencoderConfig,
         workers: int) -> list[Clips]:  # fmt: skip
    """At least `count` sequences, drawn once; one `Clips` a shape, the recipe's own shape first."""
    shards = -(-count // SEQUENCES_PER_FILE)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        missing = [i for i in range(shards) if not (folder / FILE.format(i)).exists()]
        jobs = [pool.submit(_paint, str(folder), i, frames, shape_of(i, shape), config) for i in missing]
        for i, job in zip(missing, jobs, strict=True):
            job.result()
            if i % 4 == 3:
                print(f"stage {(i + 1) * SEQUENCES_PER_FILE}/{count} sequences", flush=True)
    groups: dict[tuple[int, int], list[dict[str, Tensor]]] = {}
    for i in range(shards):
        groups.setdefault(shape_of(i, shape), []).append(load_file(folder / FILE.format(i)))
    return [
        Clips(*(torch.cat([f[k] for f in files]) for k in ("latents", "scenes", "dt"))) for files in groups.values()
    ]
