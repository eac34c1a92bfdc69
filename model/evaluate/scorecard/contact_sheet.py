"""A contact sheet: every place in every light, as the world draws it 1.5 s after being asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from torch import Tensor

from ...spec import Controls, World
from ...stage.vocabulary import ATTRIBUTES, LIGHTS, MOODS, PLACES, TINTS
from .play import FIRST_SEED, Ask, ask, run, settle, tokens

THUMBNAIL_SIZE = (272, 153)  # width, height of an image on the sheet
GAP, CAPTION, MARGIN = 10, 20, 24
PAPER, INK, FAINT = (15, 15, 19), (214, 214, 222), (128, 128, 140)
WEATHERS = ("clear", "petals", "embers", "snow", "rain", "fog", "clear")  # one a light
ACTS = ("walk", "bow", "dance", "pose", "robot", "headbang", "jump")
PLAIN = {"weather": "clear", "figure": "dance", "tint": "plain", "mood": "neutral"}


def pillow() -> Any:
    """Pillow. Raises ModuleNotFoundError with the fix where it is not installed."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a contact sheet is put together with Pillow: pip install pillow (it is in worldjockey[dev])"
        ) from None
    return Image, ImageDraw, ImageFont


def cells() -> list[list[tuple[Ask, str]]]:
    """Rows of prompts with their captions: a row a place, then the tints and the moods."""
    rng = np.random.default_rng(2)

    def cell(**values: str) -> tuple[Ask, str]:
        caption = " · ".join(v for v in values.values() if v != "clear")
        return ask(rng, {**PLAIN, **values}), caption

    looks = list(zip(LIGHTS, WEATHERS, ACTS, strict=True))
    places = [[cell(place=p, light=light, weather=w, figure=a) for light, w, a in looks] for p in PLACES]
    tints = [cell(place="city", light="sunset", tint=t) for t in TINTS[1:]]
    moods = [cell(place="meadow", light="noon", mood=m) for m in MOODS]
    return [*places, tints, moods]


def shown(world: World, prompt: Ask, seed: int, steps: int) -> Tensor:
    """(h, w, 3) uint8, 1.5 s after the prompt."""
    world.reset(seed)
    c = Controls(tokens(world, prompt), dt=0.1, steps=steps)
    settle(world, c, 1.4)
    (frame,) = run(world, c, 1)
    return frame


def write(
    path: Path, world: World, truth: World | None, *, steps: int = 1, rows: list[list[tuple[Ask, str]]] | None = None
) -> None:
    """The sheet as a PNG; with `truth`, the true stage frame stands beside every image. rows: as from `cells`."""
    image, draw, font = pillow()
    rows = cells() if rows is None else rows
    worlds = [world] if truth is None else [world, truth]
    columns = max(map(len, rows)) * len(worlds)
    width = 2 * MARGIN + columns * (THUMBNAIL_SIZE[0] + GAP) - GAP
    top = MARGIN + 40
    sheet = image.new("RGB", (width, top + len(rows) * (THUMBNAIL_SIZE[1] + CAPTION + GAP) + MARGIN - GAP), PAPER)
    pen = draw.Draw(sheet)
    beside = ", the stage to its right" if truth is not None else ""
    title = f"{world.spec.name} · {steps} step{'s' * (steps > 1)} · 1.5 s after the prompt{beside}"
    pen.text((MARGIN, MARGIN - 4), title, fill=INK, font=font.load_default(20))
    small = font.load_default(12)
    for r, row in enumerate(track(rows, "contact sheet", transient=True)):
        for k, (prompt, caption) in enumerate(row):
            for j, shows in enumerate(worlds):
                frame = shown(shows, prompt, FIRST_SEED + r, steps)
                x = MARGIN + (k * len(worlds) + j) * (THUMBNAIL_SIZE[0] + GAP)
                y = top + r * (THUMBNAIL_SIZE[1] + CAPTION + GAP)
                sheet.paste(image.fromarray(frame.numpy()).resize(THUMBNAIL_SIZE, image.Resampling.LANCZOS), (x, y))
                pen.text((x, y + THUMBNAIL_SIZE[1] + 3), caption if j == 0 else "stage", fill=FAINT, font=small)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


assert set(WEATHERS) <= set(ATTRIBUTES["weather"])
assert set(ACTS) <= set(ATTRIBUTES["figure"])
