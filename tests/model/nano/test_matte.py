"""The matte lies where the world draws its figure, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.nano.world import Nano

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world() -> Nano:
    found = load("nano:runtime=torch", device="cpu")
    assert isinstance(found, Nano)
    return found


def frames(world: Nano, prompt: str, act: str, steps: int) -> list[np.ndarray]:
    """(h, w, 4) each. Only the last one's colours are decoded."""
    assert world.spec.matte
    world.reset(1)
    controls = Controls(world.encode(Prompt(prompt)).values, acts={act: 1.0}, dt=1 / 20, matte=True)
    with pytest.MonkeyPatch.context() as patch:
        black = torch.zeros(1, 3, world.spec.height, world.spec.width)
        patch.setattr(world.autoencoder, "decode", lambda latent: black)
        found = [world.step(controls)[0].numpy() for _ in range(steps - 1)]
    return [*found, world.step(controls)[0].numpy()]


@pytest.mark.parametrize("act", ["dance", "jump", "bow"])
def test_what_is_opaque_is_the_dark_figure_before_a_light_world(world: Nano, act: str) -> None:
    frame = frames(world, "a desert at noon, clear sky", act, 24)[-1]
    grey, alpha = frame[..., :3].mean(-1), frame[..., 3]
    figure = alpha > 250
    assert 0.01 < figure.mean() < 0.2
    assert set(np.unique(alpha)) >= {0, 255}

    def light(down: int, right: int) -> float:
        """Of what is seen where the figure would be if it stood elsewhere."""
        return float(grey[np.roll(figure, (down, right), (0, 1))].mean())

    places = {(y, x): light(y, x) for y in range(-6, 7) for x in range(-6, 7)}
    assert max(map(abs, min(places, key=lambda at: places[at]))) <= 3
    assert places[0, 0] < 0.6 * light(0, 120)


def test_a_figure_that_jumps_takes_its_matte_along(world: Nano) -> None:
    def highest(act: str) -> int:
        tops = [np.flatnonzero(frame[..., 3].max(1) > 128)[0] for frame in frames(world, "a meadow", act, 40)[12:]]
        return int(min(tops))

    assert highest("jump") < highest("cry") - 60


def test_who_is_not_there_is_transparent(world: Nano) -> None:
    assert frames(world, "nobody on an empty meadow", "none", 60)[-1][..., 3].max() <= 2


def test_nobody_gets_a_matte_who_does_not_ask(world: Nano) -> None:
    frame = world.step(Controls(world.encode(Prompt("a meadow")).values))
    assert frame.shape == (1, 288, 512, 3)
