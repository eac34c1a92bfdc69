"""Compares the two ways in which a world takes a new prompt: delay, largest jump, and cost.

From one moment the world runs on under the old prompt and, once for each way, under the new one; noise is the same in
all of them, so that frames differ by the prompt alone. Distance is the mean absolute difference of two frames.

- half way: frames until the switched run is half as far from the unswitched one as it will be (the median of the last
  third). Twelve frames are one chunk.
- jump: the largest jump between neighbouring frames of the switched run, from the last one before the switch, held
  against the largest of the unswitched run.
- cost: what the new prompt takes on the frame path, as a share of drawing a chunk.

`python -m worldjockey.model.evaluate.scorecard.switching wan-1.3b-longlive --json switching.json`
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from ...registry import load
from ...spec import Array, Controls, Prompt, WorldState
from .play import change
from .row import Row

METHODS = ("recache", "swap")
PROMPTS = (
    "a neon city street in the rain at night, a dancer in a silver coat",
    "a wide desert at sunset, a dancer in a silver coat, long shadows",
    "deep forest in morning fog, a dancer in a silver coat among ferns",
    "a stormy sea seen from a cliff, a dancer in a silver coat in the wind",
)


def _chunks(world: Any, values: Array, count: int, steps: int) -> tuple[list[Tensor], list[float], list[float]]:
    """The frames of so many chunks, on the CPU, and the milliseconds of each chunk's prompt and denoising."""
    frames: list[Tensor] = []
    prompt_ms, chunk_ms = [], []
    for _ in range(count):
        for _ in range(world.spec.steps_per_chunk):
            frames += torch.as_tensor(world.step(Controls(values, steps=steps))).cpu()
            if "chunk_ms" in world.timings:
                prompt_ms.append(world.timings["prompt_ms"])
                chunk_ms.append(world.timings["chunk_ms"])
    return frames, prompt_ms, chunk_ms


def halfway(distance: Sequence[float]) -> int:
    """The first frame, from 1, at half of where the distance ends up; one more than there are if it goes nowhere."""
    plateau = float(np.median(distance[-max(len(distance) // 3, 1) :]))
    return next((i for i, d in enumerate(distance, 1) if plateau and d >= plateau / 2), len(distance) + 1)


def once(world: Any, a: Array, b: Array, *, settle: int, after: int, steps: int) -> dict[str, dict[str, float]]:
    """Way -> its figures, for a world that has just been reset. It is left as it was found: its way is put back."""
    method, found = world.switch, {}
    last = _chunks(world, a, settle, steps)[0][-1]
    start: WorldState = world.snapshot()
    stays = [last, *_chunks(world, a, after, steps)[0]]
    try:
        for world.switch in METHODS:
            world.restore(start)
            frames, prompt_ms, chunk_ms = _chunks(world, b, after, steps)
            goes = [last, *frames]
            jumps, normal = ([change(x, y) for x, y in pairwise(run)] for run in (goes, stays))
            found[world.switch] = {
                "half way": halfway([change(x, y) for x, y in zip(goes[1:], stays[1:], strict=True)]),
                "jump": max(jumps) / max(max(normal), 1e-3),
                "cost": prompt_ms[0] / float(np.median(chunk_ms)),
                "seen": max(change(x, y) for x, y in zip(goes, stays, strict=True)),
            }
    finally:
        world.switch = method
    return found


def rows(world: Any, prompts: Sequence[str] = PROMPTS, *, seeds: int = 3, settle: int = 8, after: int = 8,
         steps: int = 4) -> list[Row]:  # fmt: skip
    """Every prompt into the next one, from so many seeds. settle, after: chunks before and after the switch."""
    tokens = [world.encode(Prompt(text)).values for text in prompts]
    found = []
    for seed in track(range(seeds), "switching", transient=True):
        for a, b in zip(tokens, [*tokens[1:], tokens[0]], strict=True):
            world.reset(seed)
            found.append(once(world, a, b, settle=settle, after=after, steps=steps))
    made = []
    for name, target, unit in (("half way", 12, "frames"), ("jump", 2, "x"), ("cost", 1, "chunks")):
        for method in METHODS:
            values = [f[method][name] for f in found]
            detail = {
                "switches": len(values),
                "worst": max(values),
                "seen": [round(f[method]["seen"], 1) for f in found],
            }
            made.append(Row(f"{method}: {name}", float(np.median(values)), target, True, unit, detail=detail))
    return made


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("switching", description="compare the ways in which a world takes a new prompt")
    parser.add_argument("world", help="a world that has both ways: wan-1.3b-longlive, wan-1.3b-self-forcing, ...")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompt", action="append", help="two or more, instead of the built-in ones")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=8, help="before and after each switch (default: 8)")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args(argv)
    try:
        world = load(args.world, device=args.device)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        parser.exit(2, f"switching: {error}\n")
    if not hasattr(world, "switch"):
        parser.exit(2, f"switching: {args.world} has one way of taking a prompt only\n")
    taken = rows(world, args.prompt or PROMPTS, seeds=args.seeds, settle=args.chunks, after=args.chunks,
                 steps=args.steps)  # fmt: skip
    table = Table("what", "figure", "worst", title=f"a new prompt in {args.world}", title_justify="left")
    for row in taken:
        table.add_row(row.name, row.show(row.value), row.show(row.detail["worst"]))
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps({"world": args.world, **{r.name: r.json() for r in taken}}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
