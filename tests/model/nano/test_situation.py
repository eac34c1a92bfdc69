"""What nano tells of its surroundings is what its teacher draws there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from worldjockey.model.nano.situation import DEGREES, STANDING, situation, things
from worldjockey.model.stage.geometry import Rays
from worldjockey.model.stage.motion import Motion
from worldjockey.model.stage.near_things import COLUMN_TOP, standing
from worldjockey.model.stage.scene import NUMBERS, SEED_DIM, Scene
from worldjockey.model.stage.vocabulary import ATTRIBUTES, PLACES, WIDTH

ROWS, COLUMNS = 288, 512


def scene(m: Motion) -> Scene:
    rows = {k: torch.zeros(1, len(values)) for k, values in ATTRIBUTES.items()}
    numbers = {k: torch.tensor([getattr(m, k)]) for k in NUMBERS}
    return Scene(**rows, **numbers, sound=torch.zeros(1, 4), seed=torch.zeros(1, SEED_DIM))


def moments() -> Iterator[Motion]:
    rng = np.random.default_rng(4)
    for _ in range(30):
        yield Motion(x=rng.uniform(0, 8), z=rng.uniform(0, 4), yaw=rng.uniform(0, 7))


@pytest.mark.parametrize("place", STANDING)
def test_a_thing_stands_where_the_stage_draws_it(place: str) -> None:
    looked = 0
    for m in moments():
        rays = Rays.of(scene(m), ROWS, COLUMNS)
        planes = rays.planes()
        for thing in things(place, m):
            column = int((rays.x[0] - thing.bearing / DEGREES).abs().argmin())
            if not 4 < column < COLUMNS - 4 or float(rays.front(0.35)[0, column]) < 1:
                continue
            plane = min(planes, key=lambda p: abs(float(p.depth) - thing.distance))
            assert float(plane.depth) == pytest.approx(thing.distance, abs=0.01)
            seen = standing(PLACES.index(place), rays, plane)[0, :, column - 3 : column + 4].any(1)
            heights = plane.height[0][seen]
            if place == "temple":  # the beam lies on top of the columns
                heights = heights[heights < COLUMN_TOP]
            top = min(thing.height, float(plane.height[0].max()))
            assert len(heights), (m, thing)
            assert float(heights.max()) == pytest.approx(top, rel=0.12, abs=0.06)
            looked += 1
    assert looked > 10


def test_the_camera_turns_right_and_what_it_faced_goes_left() -> None:
    look = [np.eye(WIDTH, dtype=np.float32)[0] for _ in ATTRIBUTES]
    look[list(ATTRIBUTES).index("place")] = np.eye(WIDTH, dtype=np.float32)[PLACES.index("temple")]
    m = Motion()
    before = situation(m, look, False, 0.0)
    for _ in range(10):
        m.advance(0.05, {"yaw": 0.2, "forward": 0.1}, {"jump": 1.0})
    after = situation(m, look, False, 0.5)
    assert (before.place, after.act) == ("temple", "jump")
    assert after.heading == pytest.approx(0.2 * 1.2 * 0.5 * DEGREES, abs=0.1)
    assert after.y > before.y == 0
    assert before.sun_bearing is not None
    assert after.sun_bearing == pytest.approx(before.sun_bearing - after.heading, abs=0.2)
    assert situation(m, look, True, 0.5).act == "freeze"
