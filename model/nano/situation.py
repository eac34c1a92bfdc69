"""Where nano's camera is and what stands around it, in words and numbers, without drawing anything.

What stands where is a function of place and ground alone (`stage.near_things`): it is read off once for each place, and
a step costs a few additions.
"""

from __future__ import annotations

from functools import lru_cache
from math import floor

import torch

from ..spec import Array, Situation, Thing
from ..stage.geometry import CAMERA_HEIGHT, DEPTH_PLANES, NEAREST, SPACING, STAGGER, SUN_SWAY
from ..stage.motion import Motion
from ..stage.near_things import COLUMN_TOP, SHAPES
from ..stage.scene import PANORAMA, ROAD, STREET
from ..stage.vocabulary import ATTRIBUTES, FIGURES

# How many cells a street has of what stands in a place, and what that is: from so many units of height on, by name.
STANDING: dict[str, tuple[int, tuple[tuple[float, str], ...]]] = {
    "forest": (10, ((0.5, "pine"),)),
    "city": (12, ((0.5, "tower"),)),
    "desert": (5, ((0.6, "cactus"), (0.2, "rock"))),
    "mountains": (10, ((0.3, "pine"),)),
    "space": (5, ((0.2, "rock"),)),
    "underwater": (14, ((0.5, "weed"), (0.2, "coral"))),
    "volcano": (5, ((0.2, "rock"),)),
    "temple": (5, ((0.5, "column"),)),
}
# Places whose sky shows the sun or the moon.
SUNLIT = frozenset(("sea", "desert", "forest", "city", "mountains", "meadow", "temple", "volcano"))
NEAR = 6  # things that are named, at most
REACH = 4.0  # units, beyond which a thing is not near
FACED_DEG = 12.0  # on each side of the middle of the picture
DEGREES = 360 / PANORAMA  # a screen unit around the panorama
SAMPLES = 24  # of a cell


@lru_cache(maxsize=32)
def standing(place: str) -> tuple[tuple[tuple[float, float, str], ...], ...]:
    """What stands on each of the contents that planes can have: (place along the street, height, name)."""
    count, names = STANDING[place]
    found = []
    for content in range(DEPTH_PLANES):
        if place == "temple":
            tall = torch.full((count, SAMPLES), COLUMN_TOP)
        else:
            u = ((torch.arange(count * SAMPLES) + 0.5) * (STREET / count / SAMPLES))[None]
            tall = SHAPES[place](u, torch.full((1, 1), float(content))).view(count, SAMPLES)
        row = []
        for i in range(count):
            height, at = (float(v) for v in tall[i].max(0))
            at = SAMPLES / 2 - 0.5 if place == "temple" else at
            name = next((name for least, name in names if height >= least), "")
            if name:
                row.append(((i + (at + 0.5) / SAMPLES) * STREET / count, height, name))
        found.append(tuple(row))
    return tuple(found)


def wrapped(value: float, period: float) -> float:
    """Into -period/2..period/2."""
    return (value + period / 2) % period - period / 2


def things(place: str, m: Motion) -> list[Thing]:
    """The nearest things, the nearest first."""
    if place not in STANDING:
        return []
    found: list[Thing] = []
    slices = m.z % ROAD / ROAD * DEPTH_PLANES
    first = floor(slices)
    for k in range(DEPTH_PLANES):
        depth = NEAREST * SPACING ** (k + 1 - (slices - first))
        if depth > REACH:
            break
        content = (k + first) % DEPTH_PLANES
        for u, height, name in standing(place)[content]:
            along = (u - m.x - content * STAGGER) % STREET
            while along > -PANORAMA / 2 * depth:
                along -= STREET
            while (along := along + STREET) < PANORAMA / 2 * depth:
                bearing = wrapped(along / depth - m.yaw, PANORAMA) * DEGREES
                found.append(Thing(name, round(bearing, 1), round(depth, 2), round(height, 2)))
        if len(found) >= 4 * NEAR:
            break
    ahead = sorted(found, key=lambda thing: thing.distance + abs(thing.bearing) / 90)
    return ahead[:NEAR]


def situation(m: Motion, look: list[Array], frozen: bool, seconds: float) -> Situation:
    """look: the value of each attribute that the world shows now."""
    shown = {k: values[int(look[i][: len(values)].argmax())] for i, (k, values) in enumerate(ATTRIBUTES.items())}
    near = things(shown["place"], m)
    sun = wrapped(SUN_SWAY * float(m.seed[2]) - m.yaw, PANORAMA) * DEGREES
    disc = "moon" if shown["light"] in ("night", "aurora") else "sun"
    faced = sorted((abs(thing.bearing), thing.name) for thing in near if abs(thing.bearing) < FACED_DEG)
    faces = faced[0][1] if faced else disc if abs(sun) < FACED_DEG and shown["place"] in SUNLIT else shown["place"]
    return Situation(
        x=round(m.x, 3), y=round(m.z, 3), height=CAMERA_HEIGHT, heading=round(m.yaw * DEGREES, 1),
        pitch=round(m.pitch, 3), zoom=round(m.zoom, 3), place=shown["place"], light=shown["light"],
        weather=shown["weather"], mood=shown["mood"],
        act="freeze" if frozen else FIGURES[int(m.figure.argmax())], faces=faces, near=tuple(near),
        sun_bearing=round(sun, 1) if shown["place"] in SUNLIT else None, seconds=round(seconds, 2),
    )  # fmt: skip
