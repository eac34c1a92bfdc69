"""The embedded world, from its shipped weights, judged by the probe."""

import numpy as np
import pytest
import torch
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.probe import load_probe
from worldjockey.model.stage.vocabulary import ATTRIBUTES

SOFT = pytest.mark.xfail(reason="the first nano draws this too softly for the judge; it needs longer training")
PLACE, LIGHT = list(ATTRIBUTES).index("place"), list(ATTRIBUTES).index("light")


@pytest.fixture(scope="module")
def world():
    return load("nano", device="cpu")


@pytest.fixture(scope="module")
def probe():
    return load_probe()


def play(world, text, frames, **controls):
    tokens = world.encode(Prompt(text)).values
    for _ in range(frames):
        frame = world.step(Controls(tokens, **controls))
    return frame[0].numpy()


@pytest.mark.parametrize(
    ("text", "place", "light"),
    [
        pytest.param("a neon city in the rain", "city", "neon", marks=SOFT),
        ("sunset over the desert", "desert", "sunset"),
        ("a dark forest at night", "forest", "night"),
        ("the open sea at dawn", "sea", "dawn"),
        ("endless tunnel, neon", "tunnel", "neon"),
    ],
)
def test_the_picture_shows_what_was_asked_within_a_second_and_a_half(world, probe, text, place, light):
    world.reset(0)
    play(world, "snowy mountains at noon", 20)
    seen = probe.read(play(world, text, 30))
    assert (seen["place"], seen["light"]) == (place, light)


@SOFT
@pytest.mark.parametrize("act", ["jump", "wave", "cry", "pose"])
def test_the_figure_does_what_is_played(world, probe, act):
    world.reset(0)
    play(world, "sunset desert, a dancer", 20)
    seen = [probe.read(play(world, "sunset desert, a dancer", 5, acts={act: 1.0}))["figure"] for _ in range(8)]
    assert seen.count(act) >= 5, seen


def test_a_prompt_that_speaks_of_light_alone_leaves_the_place(world, probe):
    world.reset(0)
    play(world, "a dark forest at noon", 40)
    assert probe.read(play(world, "make it night", 30))["place"] == "forest"


def test_same_seed_same_world_other_seed_other_world(world):
    def run(seed):
        world.reset(seed)
        return play(world, "city at sunset", 5)

    a = run(11)
    np.testing.assert_array_equal(a, run(11))
    assert np.abs(a.astype(int) - run(12)).mean() > 2


def test_a_snapshot_brings_the_very_frames_back(world):
    world.reset(5)
    play(world, "neon grid", 10)
    state = world.snapshot()
    a = [play(world, "neon grid", 1, camera={"yaw": 1.0}) for _ in range(4)]
    world.restore(state)
    b = [play(world, "neon grid", 1, camera={"yaw": 1.0}) for _ in range(4)]
    np.testing.assert_array_equal(np.stack(a), np.stack(b))


def test_more_steps_are_another_picture_of_the_same_world(world, probe):
    world.reset(0)
    for steps in (1, 2, 4):
        assert probe.read(play(world, "desert at sunset", 20, steps=steps))["place"] == "desert"


@pytest.mark.parametrize("text", ["", "🌊🔥", "storm " * 200, "Ein Sturm über dem Meer", "\x00\x07'; DROP TABLE pads"])
def test_any_text_is_safe(world, text):
    t = world.encode(Prompt(text))
    assert t.values.shape == (5, 8)
    assert np.isfinite(t.values).all()
    assert t.values.sum(-1).max() <= 1 + 1e-5
    frame = world.step(Controls(t.values))
    assert frame.dtype == torch.uint8


def test_word_weights_fade_a_word_out(world):
    t = world.encode(Prompt("sunset storm"))
    rows = [t.weighted({"storm": w})[LIGHT] for w in (0, 1, 2)]
    storm, sunset = ATTRIBUTES["light"].index("storm"), ATTRIBUTES["light"].index("sunset")
    assert rows[0][storm] < 0.05 < rows[0][sunset]
    assert rows[0][storm] < rows[1][storm] < rows[2][storm]
