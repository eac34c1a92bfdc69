"""How much a world drifts over minutes under one prompt, without any other control.

Frames of WINDOW_S seconds from second 30 on are compared with as many later.
The later window begins a whole number of turns of the stage's slowest clock after the first, so that clouds, waves and
the figure stand where they stood and no animation counts as drift: `seconds` is rounded to that.

The target is in world time. A step may cover up to 1/8 s, which is the default of `dt`; the number of steps is reported
too, because a world drifts by the step as well as by the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from ...spec import Controls, World
from ...stage.scene import CLOCK_PERIODS_S
from ...stage.vocabulary import ATTRIBUTES
from ..probe import Probe
from .play import FIRST_SEED, Ask, ask, run, tokens
from .row import Row

DT_S = 1 / 8
FIRST_S, WINDOW_S = 30.0, 16.0  # seconds
WINDOW_FRAMES = 32  # frames of a window that are looked at
PROMPTS = (
    {"place": "city", "light": "neon", "weather": "rain", "figure": "dance", "tint": "plain", "mood": "neutral"},
    {"place": "desert", "light": "sunset", "weather": "clear", "figure": "walk", "tint": "plain", "mood": "neutral"},
    {"place": "tunnel", "light": "night", "weather": "clear", "figure": "none", "tint": "blue", "mood": "neutral"},
)  # acts whose cycle the slowest clock holds a whole number of times


def prompts() -> list[Ask]:
    rng = np.random.default_rng(5)
    return [ask(rng, p) for p in PROMPTS]


def windows(seconds: float) -> tuple[float, float, float]:
    """Begin of the first window, begin of the second, their length; short runs are cut in proportion."""
    length = min(WINDOW_S, seconds / 4)
    first = min(FIRST_S, seconds / 4)
    gap = seconds - length - first
    if gap >= CLOCK_PERIODS_S[-1]:
        gap = floor(gap / CLOCK_PERIODS_S[-1] + 0.5) * CLOCK_PERIODS_S[-1]
    return first, first + gap, length


def look(frames: Tensor) -> dict[str, float]:
    """frames (n, 3, h, w) 0..1 -> sharpness (mean gradient), colour (Hasler, Süsstrunk 2003), contrast, brightness."""
    luma = (frames * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    sharp = (luma[:, 1:] - luma[:, :-1]).abs().mean() + (luma[:, :, 1:] - luma[:, :, :-1]).abs().mean()
    r, g, b = frames.unbind(1)
    sides = torch.stack([r - g, (r + g) / 2 - b], 1).flatten(2)
    colour = sides.std(-1).norm(dim=1) + 0.3 * sides.mean(-1).norm(dim=1)
    figures = {"sharpness": sharp, "colour": colour.mean(), "contrast": luma.flatten(1).std(1).mean(),
               "brightness": luma.mean()}  # fmt: skip
    return {k: float(v) for k, v in figures.items()}


@torch.inference_mode()
def once(world: World, probe: Probe | None, prompt: Ask, seconds: float, dt: float, bar: Progress) -> dict[str, float]:
    """Later window as a ratio to the first one: of each of `look`, and of the share of attributes the judge sees."""
    c = Controls(tokens(world, prompt), dt=dt)
    first, second, length = windows(seconds)
    every = max(1, round(length / dt / WINDOW_FRAMES))
    found = []
    total = round((second + length) / dt)
    task = bar.add_task(f"drift, {prompt.values['place']}", total=total)
    kept: dict[float, list[Tensor]] = {first: [], second: []}
    for i, frame in enumerate(run(world, c, total)):
        for begin, frames in kept.items():
            at = i - round(begin / dt)
            if 0 <= at < round(length / dt) and at % every == 0:
                frames.append(frame)
        bar.advance(task)
    bar.remove_task(task)
    for frames in kept.values():
        images = torch.stack(frames).permute(0, 3, 1, 2).float() / 255
        figures = look(images)
        if probe is not None:
            scores: dict[str, list[Tensor]] = {k: [] for k in ATTRIBUTES}
            for part in images.split(8):
                for k, v in probe(part).items():
                    scores[k].append(v)
            seen = {k: torch.cat(v).argmax(-1) for k, v in scores.items()}
            hits = [float((seen[k] == ATTRIBUTES[k].index(prompt.values[k])).float().mean()) for k in ATTRIBUTES]
            figures["obedience"] = float(np.mean(hits))
        found.append(figures)
    early, late = found
    return {k: late[k] / max(early[k], 1e-6) for k in early}


def play(
    world: World, probe: Probe | None, asked: Sequence[Ask], seconds: float, dt: float = DT_S
) -> list[dict[str, float]]:
    """`once` for each prompt."""
    found = []
    with Progress(transient=True) as bar:
        for i, prompt in enumerate(asked):
            world.reset(FIRST_SEED + i)
            found.append(once(world, probe, prompt, seconds, dt, bar))
    return found


def rows(world: World, probe: Probe, seconds: float, dt: float = DT_S) -> list[Row]:
    asked = prompts()
    ratios = play(world, probe, asked, seconds, dt)
    # Fewer attributes seen is drift, more is not.
    off = [max(max(0.0, 1 - v) if k == "obedience" else abs(v - 1) for k, v in r.items()) for r in ratios]
    first, second, length = windows(seconds)
    detail = {
        "late against early": {p.text: r for p, r in zip(asked, ratios, strict=True)},
        "seconds": [first, second], "window, seconds": length, "step, seconds": dt,
        "steps": round((second + length) / dt),
    }  # fmt: skip
    return [Row(f"drift: minute {second / 60:.1f} against {first / 60:.1f}", max(off), 0.1, at_most=True,
                unit="%", detail=detail)]  # fmt: skip
