"""How a picture moved, against what the stage draws before and after."""

import numpy as np
import pytest
import torch
from worldjockey.model.painting.carried import carried
from worldjockey.model.stage.apparent_motion import apparent_motion
from worldjockey.model.stage.motion import Motion
from worldjockey.model.stage.render import render
from worldjockey.model.stage.scene import NUMBERS, Scene
from worldjockey.model.stage.vocabulary import ATTRIBUTES, FIGURES

ROWS, COLUMNS, DT = 144, 256, 1 / 20


def scene(motion, place):
    look = {"place": place, "light": "noon", "weather": "clear", "tint": "plain", "mood": "neutral"}
    rows = {k: torch.tensor([[float(v == look[k]) for v in values]]) for k, values in ATTRIBUTES.items() if k in look}
    rows["figure"] = torch.from_numpy(motion.figure)[None]
    numbers = {k: torch.tensor([getattr(motion, k)], dtype=torch.float32) for k in NUMBERS}
    return Scene(**rows, **numbers, sound=torch.zeros(1, 4), seed=torch.from_numpy(motion.seed)[None])


def two(place, camera, act="none"):
    """Scenes before and after one step, in the middle of a move."""
    figure = np.eye(len(FIGURES), dtype=np.float32)[FIGURES.index(act)]
    motion = Motion(figure=figure, x=0.7, z=0.3)
    for _ in range(5):
        motion.advance(DT, camera, {act: 1.0} if act != "none" else {})
    before = scene(motion, place)
    motion.advance(DT, camera, {act: 1.0} if act != "none" else {})
    return before, scene(motion, place)


def loss(a, b, where):
    return float((a - b).square().mean(1)[0][where].mean())


@pytest.mark.parametrize("camera", [{"yaw": 1.0}, {"strafe": 1.0}, {"forward": 1.0}, {"zoom": 1.0}, {"pitch": 1.0}],
                         ids=lambda camera: next(iter(camera)))  # fmt: skip
@pytest.mark.parametrize("place", ["forest", "city", "temple", "mountains", "tunnel"])
def test_the_picture_before_becomes_the_one_after(place, camera):
    before, now = two(place, camera)
    old, new = (render(s, ROWS, COLUMNS) for s in (before, now))
    earlier = apparent_motion(before, before, ROWS, COLUMNS)[1]
    motion, near = apparent_motion(before, now, ROWS, COLUMNS, earlier)
    moved, there = carried(old, motion)
    assert there.float().mean() > 0.7
    gain = loss(old, new, there) / loss(moved, new, there)
    assert gain > 2, "the warped picture is much nearer to the new one than the old one is"
    assert near.min() >= 0
    assert near.max() <= 1


def test_a_dancing_figure_moves_by_its_bones():
    before, now = two("sea", {}, "dance")
    motion, near = apparent_motion(before, now, ROWS, COLUMNS)
    body = near > 0.8
    assert 0.01 < body.float().mean() < 0.2
    old, new = (render(s, ROWS, COLUMNS) for s in (before, now))
    moved, there = carried(old, motion)
    assert loss(old, new, body & there) / loss(moved, new, body & there) > 3


def test_near_things_are_near_and_the_sky_is_far():
    before, now = two("city", {})
    _, near = apparent_motion(before, now, ROWS, COLUMNS)
    assert float(near[:10].median()) < 0.3
    assert near[-1].min() > near[90].median() > 0


def test_what_comes_into_sight_is_new():
    before, now = two("sea", {"yaw": 1.0})
    motion, _ = apparent_motion(before, now, ROWS, COLUMNS)
    new = motion.isnan().any(-1).float().mean(0)
    assert new[-1] > 0.9, "the right edge, when the camera turns right"
    assert new[: COLUMNS // 2].mean() < 0.1


def test_nothing_is_told_of_a_liquid():
    assert apparent_motion(*two("liquid", {"yaw": 1.0}), ROWS, COLUMNS) is None
