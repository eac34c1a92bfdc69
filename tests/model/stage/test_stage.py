import pytest
import torch
from worldjockey.model.stage.motion import Motion
from worldjockey.model.stage.render import render
from worldjockey.model.stage.sample import sequence
from worldjockey.model.stage.scene import PANORAMA, ROAD, STREET, Scene
from worldjockey.model.stage.vocabulary import ATTRIBUTES, FIGURES, LIGHTS, PLACES

SIZE = (72, 128)


def scene(place="city", light="sunset", weather="clear", figure="none", tint="plain", mood="neutral", **numbers):
    said = {"place": place, "light": light, "weather": weather, "figure": figure, "tint": tint, "mood": mood}
    rows = {k: torch.eye(len(v))[[v.index(said[k])]] for k, v in ATTRIBUTES.items()}
    plain = {"phase": 0.2, "time": 1.0, "yaw": 0, "x": 0, "z": 0, "pitch": 0, "zoom": 1} | numbers
    sound = torch.tensor([plain.pop("sound", (0.0, 0.0, 0.0, 0.0))])
    return Scene(**rows, **{k: torch.tensor([float(v)]) for k, v in plain.items()}, sound=sound, seed=torch.zeros(1, 4))


def change(a, b):
    return (a - b).abs().mean(1)[0]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_an_image_and_the_same_one_twice(place):
    one = render(scene(place, figure="dance"), *SIZE)
    assert one.shape == (1, 3, *SIZE)
    assert float(one.std()) > 0.05
    assert torch.equal(one, render(scene(place, figure="dance"), *SIZE))


@pytest.mark.parametrize("place", PLACES)
def test_a_batch_is_its_moments_one_by_one(place):
    moments = [scene(place, light, figure="dance", time=i, yaw=0.4 * i, z=0.7 * i) for i, light in enumerate(LIGHTS)]
    batch = render(Scene.of(torch.cat([m.flat() for m in moments])), *SIZE)
    for i, one in enumerate(moments):
        torch.testing.assert_close(batch[i : i + 1], render(one, *SIZE), atol=1e-4, rtol=0)


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


def looks(kind, values, **rest):
    frames = {v: render(scene(**rest, **{kind: v}), *SIZE) for v in values}
    return [(a, b, float(change(frames[a], frames[b]).max())) for a in values for b in values if a < b]


@pytest.mark.parametrize(("kind", "place"), [("weather", "city"), ("tint", "sea"), ("mood", "desert")])
def test_every_value_looks_different(kind, place):
    for a, b, most in looks(kind, ATTRIBUTES[kind], place=place):
        assert most > 0.08, (a, b)


@pytest.mark.parametrize("shape", [(72, 128), (72, 72), (128, 72)])
def test_every_shape_shows_the_same_middle(shape):
    whole, other = render(scene("temple", figure="dance"), *SIZE), render(scene("temple", figure="dance"), *shape)
    h, w = min(SIZE[0], shape[0]), min(SIZE[1], shape[1])

    def middle(x):
        top, left = (x.shape[-2] - h) // 2, (x.shape[-1] - w) // 2
        return x[0, :, top : top + h, left : left + w]

    # The vignette reaches further out in a tall frame, the image does not change.
    assert float((middle(whole) - middle(other)).abs().mean()) < 0.02


@pytest.mark.parametrize("place", PLACES)
def test_moving_by_a_whole_period_comes_back(place):
    for axis, period in (("x", STREET), ("z", ROAD), ("time", 64.0)):
        a, b = (
            render(scene(place), *SIZE),
            render(scene(place, **{axis: period + (1.0 if axis == "time" else 0.0)}), *SIZE),
        )
        assert float(change(a, b).mean()) < 5e-3, (axis, place)


def test_sound_lights_the_scene():
    quiet = render(scene("sea"), *SIZE)
    for i in range(4):
        loud = render(scene("sea", sound=tuple(float(k == i) for k in range(4))), *SIZE)
        if i != 2:  # treble sparkles: stars, windows, lines
            assert float(change(quiet, loud).max()) > 0.02, i


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
