"""The command `wj eval`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..nano.runtime_names import LARGE, SMALL
from ..nano.world import WEIGHTS, Nano
from ..spec import World
from ..stage.vocabulary import ATTRIBUTES, SCENES
from . import probe as judge
from .probe import Probe, load_probe
from .scorecard import (
    autoencoder,
    camera,
    clip,
    contact_sheet,
    continuity,
    drift,
    few_steps,
    memory,
    obedience,
    reaction,
    sharpness,
    sound,
    speed,
    stability,
)
from .scorecard.play import quiet_scenes
from .scorecard.row import Row
from .scorecard.truth import StageWorld


def _obeys(world: World, probe: Probe, truth: World, count: int, many: int) -> list[Row]:
    """Obedience to known phrases in 1 step and in `many`, to unseen phrases, and the distance of few steps."""
    known, unseen = obedience.asks(count, False), obedience.asks(count, True)
    true = obedience.play(truth, probe, known, name="obedience, true frames")
    one = obedience.play(world, probe, known, 1, "obedience, 1 step")
    several = obedience.play(world, probe, known, many, f"obedience, {many} steps")
    strange = obedience.play(world, probe, unseen, 1, "obedience, paraphrases")
    return [
        obedience.row("1 step", one, true),
        obedience.row(f"{many} steps", several, true),
        obedience.row("unseen paraphrases", strange, true),
        *few_steps.rows(true.summaries, one.summaries, several.summaries, many),
    ]


def measures(
    world: World, probe: Probe, truth: World | None, *, count: int, seconds: float, many: int, dt: float
) -> dict[str, Callable[[], list[Row]]]:
    """Name -> function that takes the measure. Without `truth` no true frames are scored beside the world's."""
    scenes = quiet_scenes(np.random.default_rng(3), len(SCENES))
    return {
        "autoencoder": lambda: autoencoder.rows(world),
        "obedience": lambda: _obeys(world, probe, StageWorld(world.spec.height, world.spec.width), count, many),
        "reaction": lambda: reaction.rows(world),
        "continuity": lambda: continuity.rows(world, truth),
        "camera": lambda: camera.rows(world, truth, scenes),
        "drift": lambda: drift.rows(world, probe, seconds, dt),
        "memory": lambda: memory.rows(world, truth, probe, scenes[:5]),
        "stability": lambda: stability.rows(world, truth, scenes[:5]),
        "sound": lambda: sound.rows(world, truth),
        "sharpness": lambda: sharpness.rows(world),
        "speed": lambda: speed.rows(world, truth, scenes[1:5]),
    }


def show(rows: list[Row], console: Console) -> None:
    table = Table("what", "figure", "must reach", "true frames", "", title="scorecard", title_justify="left")
    for r in rows:
        bound = ("≤ " if r.at_most else "≥ ") + r.show(r.target)
        table.add_row(r.name, r.show(r.value), bound, r.show(r.truth), "[green]✓[/]" if r.passes else "[red]✗[/]")
    console.print(table)
    shares = [r for r in rows if "share" in r.detail]
    if shares:
        each = Table("obedience, share of true frames", *ATTRIBUTES)
        true = shares[0].detail["right on true frames"]
        each.add_row("judge on true frames", *(f"{true[k]:.0%}" for k in ATTRIBUTES))
        for r in shares:
            each.add_row(r.name.removeprefix("obedience: "), *(f"{r.detail['share'][k]:.0%}" for k in ATTRIBUTES))
        console.print(each)
    commands = next((r.detail["right"] for r in rows if "right" in r.detail and "scenes" in r.detail), None)
    if commands:
        console.print("camera: " + ", ".join(f"{k} {v:.0%}" for k, v in commands.items()))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "wj eval", description="Score a world on seeds and phrases that training never saw."
    )
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="weights of the world (default: the shipped nano)"
    )
    parser.add_argument(
        "--probe", type=Path, default=judge.WEIGHTS, help="weights of the judge (default: the shipped ones)"
    )
    parser.add_argument(
        "--stage", action="store_true", help="score true frames of the stage instead, to check the measures themselves"
    )
    parser.add_argument(
        "--only", action="append", metavar="MEASURE", help="run only this measure (repeatable; default: all)"
    )
    parser.add_argument("--size", choices=(SMALL, LARGE), default=SMALL, help="size of its frames (default: small)")
    parser.add_argument("--json", type=Path, help="also write the scorecard to this file")
    parser.add_argument(
        "--count", type=int, default=60, help="number of prompts for each obedience figure (default: 60)"
    )
    parser.add_argument(
        "--steps", type=int, default=4, help="number of prediction steps with which one step is compared (default: 4)"
    )
    parser.add_argument(
        "--seconds", type=float, help="seconds of world time of the drift run (default: 120; the target is 600)"
    )
    parser.add_argument("--long", action="store_true", help="run the drift measure over 30 minutes of world time")
    parser.add_argument(
        "--dt", type=float, default=drift.DT_S, help="seconds of each step of the drift run (default: 1/8)"
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw a contact sheet of every place in every light")
    parser.add_argument("--truth", action="store_true", help="put true stage frames beside those of the sheet")
    parser.add_argument("--clip", type=Path, metavar="MP4", help="record a video of one minute of play")
    parser.add_argument(
        "--no-score", action="store_true", help="measure nothing; only draw the sheet and record the clip"
    )
    args = parser.parse_args(argv)
    try:
        world: Any = StageWorld() if args.stage else Nano.load(args.weights, size=args.size)
        probe = None if args.no_score else load_probe(args.probe)
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"wj eval: {error}\n")
    truth = StageWorld(world.spec.height, world.spec.width)
    seconds = args.seconds or (1800.0 if args.long else 120.0)
    console, rows, spent = Console(), [], {}
    if probe is not None:
        every = measures(
            world, probe, None if args.stage else truth,
            count=args.count, seconds=seconds, many=args.steps, dt=args.dt,
        )  # fmt: skip
        unknown = set(args.only or ()) - set(every)
        if unknown:
            parser.error(f"unknown measure {', '.join(sorted(unknown))}: choose from {', '.join(every)}")
        for name, take in every.items():
            if args.only and name not in args.only:
                continue
            begin = time.monotonic()
            try:
                rows += take()
            except ModuleNotFoundError as missing:
                console.print(f"[yellow]{name} was not measured: {missing}[/]")
            spent[name] = round(time.monotonic() - begin, 1)
        show(rows, console)
        console.print(f"measured in {sum(spent.values()):.0f} s")
    if args.json and rows:
        card = {"world": world.spec.name, "seconds": spent, "rows": {r.name: r.json() for r in rows}}
        args.json.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    if args.sheet:
        contact_sheet.write(args.sheet, world, truth if args.truth else None)
        console.print(f"wrote {args.sheet}")
    if args.clip:
        clip.write(args.clip, world)
        console.print(f"wrote {args.clip}")
    return 0
