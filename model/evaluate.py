"""`wj eval`: how well a world obeys, as the judge (`probe`) sees it, on seeds that training never saw."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from .nano import WEIGHTS, Nano
from .probe import Probe, load_probe
from .spec import Controls, Prompt
from .stage.captions import phrases
from .stage.render import render
from .stage.sample import moments
from .stage.vocabulary import ATTRIBUTES

DT = 1 / 20
SWITCH = 1.5  # seconds after which the picture is judged


def ask(rng: np.random.Generator, held_out: bool) -> tuple[str, dict[str, str]]:
    """A prompt that says every attribute, and what it says."""
    said = {k: str(rng.choice(v)) for k, v in ATTRIBUTES.items()}
    if rng.random() < 0.6:
        said["tint"] = "plain"
    words = [str(rng.choice(phrases(k, v, held_out))) for k, v in said.items() if (k, v) != ("tint", "plain")]
    return ", ".join(words), said


def truth(probe: Probe, count: int) -> dict[str, float]:
    """The judge's accuracy on true stage pictures: the ceiling of every score below."""
    right = dict.fromkeys(ATTRIBUTES, 0.0)
    sure = dict.fromkeys(ATTRIBUTES, 0)
    scene = moments(31_337, count)
    for i in range(count):
        seen = probe((render(scene[i : i + 1]) * 255).round() / 255)
        for k in ATTRIBUTES:
            weights = getattr(scene, k)[i]
            if float(weights.max()) > 0.8:
                right[k] += float(seen[k].argmax() == weights.argmax())
                sure[k] += 1
    return {k: right[k] / max(sure[k], 1) for k in ATTRIBUTES}


def obedience(world: Nano, probe: Probe, count: int, steps: int, held_out: bool) -> dict[str, float]:
    """Share of prompts that the picture shows 1.5 s after a switch, per attribute."""
    rng = np.random.default_rng(4242)
    right = dict.fromkeys(ATTRIBUTES, 0.0)
    world.reset(0)
    for _ in track(range(count), f"obedience, {steps} step{'s' * (steps > 1)}", transient=True):
        text, said = ask(rng, held_out)
        controls = Controls(world.encode(Prompt(text)).values, dt=DT, steps=steps)
        for _ in range(round(SWITCH / DT)):
            frame = world.step(controls)
        seen = probe.read(frame[0].cpu().numpy())
        for k in ATTRIBUTES:
            right[k] += seen[k] == said[k]
    return {k: v / count for k, v in right.items()}


def reaction(world: Nano, count: int) -> int:
    """World frames until a switch shows: the median over `count` switches, against the unswitched run."""
    rng, waits = np.random.default_rng(7), []
    for seed in range(count):
        world.reset(seed)
        a, b = (world.encode(Prompt(ask(rng, False)[0])).values for _ in range(2))
        for _ in range(12):
            before = world.step(Controls(a, dt=DT)).float()
        motion = float((world.step(Controls(a, dt=DT)).float() - before).abs().mean())
        stay = go = world.snapshot()
        for wait in range(1, 20):  # noqa: B007 (used after the loop)
            world.restore(stay)
            unswitched = world.step(Controls(a, dt=DT)).float()
            stay = world.snapshot()
            world.restore(go)
            switched = world.step(Controls(b, dt=DT)).float()
            go = world.snapshot()
            if float((switched - unswitched).abs().mean()) > 2 * motion + 1:
                break
        waits.append(wait)
    return int(np.median(waits))


def drift(world: Nano, probe: Probe, seconds: float) -> dict[str, float]:
    """Sharpness, colour, contrast and brightness after `seconds`, as a ratio to those after 5 s, and still obeying."""
    world.reset(3)
    controls = Controls(world.encode(Prompt("neon city in the rain, dancing")).values, dt=DT)

    def look(frames: list[torch.Tensor]) -> np.ndarray:
        x = torch.cat(frames).float() / 255
        sharp = (x[:, 1:] - x[:, :-1]).abs().mean() + (x[:, :, 1:] - x[:, :, :-1]).abs().mean()
        return np.array([float(sharp), float(x.std(-1).mean()), float(x.std()), float(x.mean())])

    early, late, frame = [], [], None
    for i in track(range(round(seconds / DT)), "drift", transient=True):
        frame = world.step(controls)
        if 5 <= i * DT < 9 and i % 10 == 0:
            early.append(frame)
        if i * DT >= seconds - 4 and i % 10 == 0:
            late.append(frame)
    assert frame is not None
    ratio = look(late) / look(early)
    seen = probe.read(frame[0].cpu().numpy())
    names = ("sharpness", "colour", "contrast", "brightness")
    out = {k: float(v) for k, v in zip(names, ratio, strict=True)}
    return out | {"obeys": float(seen["place"] == "city" and seen["light"] == "neon" and seen["weather"] == "rain")}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("wj eval", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--json", type=Path, help="write the scorecard here too")
    parser.add_argument("--count", type=int, default=100, help="prompts to ask (default: 100)")
    parser.add_argument("--seconds", type=float, default=60, help="length of the drift run (default: 60)")
    args = parser.parse_args(argv)
    world, probe = Nano.load(args.weights), load_probe()
    card: dict[str, Any] = {"judge on true pictures": truth(probe, args.count)}
    for steps in (1, 4):
        card[f"obedience, {steps} step{'s' * (steps > 1)}"] = obedience(world, probe, args.count, steps, False)
    card["obedience, paraphrases never seen"] = obedience(world, probe, args.count, 1, True)
    table = Table("what", *ATTRIBUTES)
    for name, row in card.items():
        table.add_row(name, *(f"{row[k]:.0%}" for k in ATTRIBUTES))
    card["reaction, frames"] = reaction(world, 12)
    card[f"drift after {args.seconds:g} s"] = drift(world, probe, args.seconds)
    console = Console()
    console.print(table)
    for name in list(card)[-2:]:
        console.print(f"{name}: {card[name]}")
    if args.json:
        args.json.write_text(json.dumps(card, indent=1))
    return 0
