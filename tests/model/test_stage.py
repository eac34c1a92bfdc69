import pytest
import torch
from worldjockey.model.stage.motion import Motion
from worldjockey.model.stage.render import render
from worldjockey.model.stage.sample import sequence
from worldjockey.model.stage.scene import PANORAMA, Scene
from worldjockey.model.stage.vocabulary import ATTRIBUTES, FIGURES, LIGHTS, PLACES

SIZE = (72, 128)


def scene(place="city", light="sunset", weather="clear", figure="none", tint="plain", **numbers):
    said = {"place": place, "light": light, "weather": weather, "figure": figure, "tint": tint}
    rows = {k: torch.eye(len(v))[[v.index(said[k])]] for k, v in ATTRIBUTES.items()}
    plain = {"phase": 0.2, "time": 1.0, "yaw": 0, "x": 0, "z": 0, "pitch": 0, "zoom": 1, "energy": 0} | numbers
    return Scene(**rows, **{k: torch.tensor([float(v)]) for k, v in plain.items()}, seed=torch.zeros(1, 4))


def change(a, b):
    return (a - b).abs().mean(1)[0]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_a_picture_and_the_same_one_twice(place):
    one = render(scene(place, figure="dance"), *SIZE)
    assert one.shape == (1, 3, *SIZE)
    assert float(one.std()) > 0.05
    assert torch.equal(one, render(scene(place, figure="dance"), *SIZE))


@pytest.mark.parametrize("light", LIGHTS)
def test_a_full_turn_comes_back_to_the_same_view(light):
    a, b = render(scene(light=light), *SIZE), render(scene(light=light, yaw=PANORAMA), *SIZE)
    assert float(change(a, b).mean()) < 1e-3
    assert float(change(a, render(scene(light=light, yaw=1.0), *SIZE)).mean()) > 0.02


def test_strafe_moves_near_things_more_than_far_ones_and_yaw_moves_the_sky_too():
    here, strafed, turned = (render(scene("mountains", **k), *SIZE) for k in ({}, {"x": 0.3}, {"yaw": 0.3}))
    sky, ground = slice(0, 24), slice(44, 72)
    assert float(change(here, strafed)[sky].mean()) < 0.1 * float(change(here, strafed)[ground].mean())
    assert float(change(here, turned)[sky].mean()) > 0.3 * float(change(here, turned)[ground].mean())


def test_acts_look_different_and_nobody_is_nobody():
    frames = {f: render(scene("grid", figure=f, phase=0.3), *SIZE) for f in FIGURES}
    for f in FIGURES[1:]:
        for g in FIGURES:
            if f != g:
                assert float(change(frames[f], frames[g]).max()) > 0.2, (f, g)


def test_freeze_holds_the_figure_and_letting_go_lets_it_move():
    m = Motion()
    for _ in range(40):
        m.advance(0.05, {}, {"dance": 1.0})
    held = m.phase
    m.advance(0.05, {}, {"dance": 1.0, "freeze": 1.0})
    assert m.phase == held
    m.advance(0.05, {}, {"dance": 1.0})
    assert m.phase != held
    assert m.figure[FIGURES.index("dance")] > 0.99


def test_motion_covers_the_same_way_in_few_long_or_many_short_steps():
    slow, fast = Motion(), Motion()
    for _ in range(10):
        slow.advance(0.1, {"strafe": 0.5, "yaw": -1.0}, {"walk": 1.0})
    for _ in range(30):
        fast.advance(1 / 30, {"strafe": 0.5, "yaw": -1.0}, {"walk": 1.0})
    assert slow.x == pytest.approx(fast.x)
    assert slow.yaw == pytest.approx(fast.yaw)


def test_sequences_are_exact_again_and_their_weights_are_whole():
    a, b = sequence(7, 8), sequence(7, 8)
    for key in ATTRIBUTES:
        w = getattr(a.scene, key)
        assert torch.equal(w, getattr(b.scene, key))
        torch.testing.assert_close(w.sum(-1), torch.ones(8))
