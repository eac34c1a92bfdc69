"""Do the frames show what the prompt asks for, 1.5 s after the switch?

Prompts follow each other without a pause, as in a show; after every few the world is reset to a seed that training
never used.

A figure's act is a motion, so the judge looks at it over the last second (the mean of its scores); for all else at the
last 0.4 s. The stage plays the same prompts from the same seeds, and a score is a share of the judge's accuracy there:
a world is not marked down for what the judge cannot see in true frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from ...spec import Controls, World
from ...stage.vocabulary import ATTRIBUTES
from ..probe import Probe
from .play import FIRST_SEED, Ask, ask, run, settle, tokens
from .row import Row

DT_S = 0.1
JUDGED_FRAMES = 6  # images that the judge sees of each prompt, 0.5 s to 1.5 s after the switch
STATIC_FRAMES = 3  # of them, the last ones: for all that does not move
PROMPTS_PER_SEED = 6  # prompts from one seed
SCORED = ("place", "light", "weather", "figure")  # what must reach the target; tint and mood are reported


@dataclass(frozen=True)
class Obeyed:
    """right: attribute -> share of prompts. summaries: (n, d), the judge's summary of every image it saw last."""

    right: dict[str, float]
    summaries: Tensor


def asks(count: int, held_out: bool) -> list[Ask]:
    rng = np.random.default_rng(4243 if held_out else 4242)
    return [ask(rng, held_out=held_out) for _ in range(count)]


@torch.inference_mode()
def play(world: World, probe: Probe, prompts: Sequence[Ask], steps: int = 1, name: str = "obedience") -> Obeyed:
    rng = np.random.default_rng(1)
    right = dict.fromkeys(ATTRIBUTES, 0)
    summaries = []
    for i, prompt in enumerate(track(prompts, name, transient=True)):
        if i % PROMPTS_PER_SEED == 0:
            world.reset(FIRST_SEED + i // PROMPTS_PER_SEED)
        camera = {"yaw": float(rng.uniform(-0.3, 0.3))} if rng.random() < 0.5 else {}
        c = Controls(tokens(world, prompt), dt=DT_S, steps=steps, camera=camera)
        settle(world, c, 0.4)
        looks: list[Tensor] = []
        for _ in range(JUDGED_FRAMES - 1):
            looks += run(world, c, 1)
            settle(world, c, DT_S)
        looks += run(world, c, 1)
        images = torch.stack(looks).permute(0, 3, 1, 2).float() / 255
        features = probe.features(images)
        scores = probe.scores(features)
        for k, v in scores.items():
            seen = v.log_softmax(-1)[0 if k == "figure" else JUDGED_FRAMES - STATIC_FRAMES :].mean(0)
            right[k] += ATTRIBUTES[k][int(seen.argmax())] == prompt.values[k]
        summaries.append(probe.summary(features)[JUDGED_FRAMES - STATIC_FRAMES :])
    return Obeyed({k: v / len(prompts) for k, v in right.items()}, torch.cat(summaries))


def row(name: str, found: Obeyed, true: Obeyed) -> Row:
    """The least obeyed of place, light, weather and figure, as a share of the judge's accuracy on true frames."""
    share = {k: found.right[k] / true.right[k] if true.right[k] else 1.0 for k in ATTRIBUTES}
    detail = {"share": share, "right": found.right, "right on true frames": true.right}
    return Row(f"obedience: {name}", min(share[k] for k in SCORED), 0.9, unit="%",
               truth=min(true.right[k] for k in SCORED), detail=detail)  # fmt: skip
