"""Video to video with the shipped weights: the live image comes in by its strength, lit as the world is."""

from __future__ import annotations

import numpy as np
import pytest
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.stage.vocabulary import ATTRIBUTES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world():
    return load("nano:runtime=torch", device="cpu")


@pytest.fixture(scope="module")
def image():
    """A bright ball and stripes on grey: nothing that this world knows."""
    y, x = np.mgrid[:288, :512]
    pixels = np.full((288, 512, 3), 128, np.uint8)
    pixels[(x - 150) ** 2 + (y - 140) ** 2 < 70**2] = (235, 235, 225)
    pixels[(x > 340) & (y // 36 % 2 == 0)] = (30, 30, 40)
    return pixels


def drawn(world, prompt, **controls):
    world.reset(3)
    tokens = world.encode(Prompt(prompt)).values
    for _ in range(4):
        frame = world.step(Controls(tokens, dt=0.05, **controls))
    return frame[0].numpy()


def likeness(a, b):
    return float(np.corrcoef(a.astype(float).ravel(), b.astype(float).ravel())[0, 1])


def test_no_strength_is_the_very_world_as_before(world, image):
    np.testing.assert_array_equal(drawn(world, "a calm sea at noon"),
                                  drawn(world, "a calm sea at noon", live=image, strength=0.0))  # fmt: skip


def test_full_strength_is_the_live_image(world, image):
    frame = drawn(world, "neon city at night", live=image, strength=1.0)
    assert np.abs(frame.astype(int) - image).mean() < 6


def test_each_bit_of_strength_brings_it_nearer_to_the_live_image(world, image):
    found = [likeness(drawn(world, "sunset over the sea", live=image, strength=s), image) for s in (0, 0.25, 0.5, 1)]
    assert found == sorted(found)
    assert found[0] < 0.5 < 0.97 < found[-1]
    assert np.diff(found).min() > 0.02


def test_half_way_it_stands_in_the_worlds_own_light(world, image):
    night, red = (drawn(world, p, live=image, strength=0.5) for p in ("forest at night", "sunset over the desert"))
    assert night.mean() < red.mean() - 10
    assert red[..., 0].mean() - red[..., 2].mean() > night[..., 0].mean() - night[..., 2].mean() + 20
    for frame in (night, red):  # and the ball is lighter than what is beside it
        assert frame[120:160, 130:170].mean() > frame[120:160, 20:60].mean() + 15


def test_the_world_itself_goes_on_beneath(world, image):
    tokens = world.encode(Prompt("mountains at dawn")).values
    frames = {}
    for strength in (0.0, 1.0):
        world.reset(1)
        for n in range(6):
            frame = world.step(Controls(tokens, dt=0.05, live=image, strength=strength if n < 5 else 0.0))
        frames[strength] = frame.numpy()
    np.testing.assert_array_equal(frames[0.0], frames[1.0])


@pytest.mark.parametrize("shape", [(36, 64), (720, 1280), (300, 200)])
def test_an_image_of_any_size_will_do(world, shape):
    frame = drawn(world, "the sea", live=np.full((*shape, 3), 200, np.uint8), strength=1.0)
    assert frame.shape == (288, 512, 3)
    assert abs(frame.mean() - 200) < 12


def test_what_a_live_image_shows_becomes_tokens_of_its_place(world):
    """The way of `live/look`: an image of a desert is a prompt for one."""
    row = list(ATTRIBUTES).index("place")
    for place in ("desert", "city"):
        seen = world.encode(Prompt(image=drawn(world, f"{place} at noon"))).values
        assert ATTRIBUTES["place"][int(seen[row].argmax())] == place


@pytest.mark.parametrize("shape", [(1, 1, 3), (300, 1, 3), (2, 900, 3), (9, 7, 4)])
def test_an_image_of_any_size_is_a_prompt(world, shape):
    tokens = world.encode(Prompt(image=np.full(shape, 200, np.uint8)))
    assert np.isfinite(tokens.values).all()
    with pytest.raises(ValueError, match="an image prompt is"):
        world.encode(Prompt(image=np.zeros((0, 5, 3), np.uint8)))
