"""Noise that moves with a picture: it stays white, of unit variance, and on the things."""

import numpy as np
import pytest
import torch
from worldjockey.model.painting.carried_noise import CarriedNoise

ROWS, COLUMNS = 24, 32


@pytest.fixture
def noise():
    return CarriedNoise(4, ROWS, COLUMNS, torch.Generator().manual_seed(0))


def everywhere(right, down):
    return torch.tensor([right / COLUMNS, down / ROWS]).expand(ROWS, COLUMNS, 2)


def growing(by):
    """Everything flies outwards from the middle."""
    y, x = torch.meshgrid((torch.arange(ROWS) + 0.5) / ROWS - 0.5, (torch.arange(COLUMNS) + 0.5) / COLUMNS - 0.5,
                          indexing="ij")  # fmt: skip
    return torch.stack([x, y], -1) * by


def likeness(a, b):
    return float(np.corrcoef(a.flatten(), b.flatten())[0, 1])


@pytest.mark.parametrize("steps", [1, 12])
def test_it_arrives_where_the_picture_moved_however_slowly(noise, steps):
    before = noise.latents
    for _ in range(steps):
        noise.move(everywhere(2 / steps, 1 / steps))
    after = noise.latents
    assert likeness(after[..., 1:, 2:], before[..., :-1, :-2]) > 0.95
    assert abs(likeness(after, before)) < 0.1


def test_it_stays_on_a_still_picture(noise):
    before = noise.latents
    noise.move(everywhere(0, 0))
    assert torch.allclose(noise.latents, before, atol=1e-5)


@pytest.mark.parametrize("motion", [growing(0.02), growing(-0.02), everywhere(0.3, -0.2)], ids=["in", "out", "aside"])
def test_it_stays_white(noise, motion):
    for _ in range(100):
        noise.move(motion)
    latents = noise.latents[0]
    assert abs(float(latents.mean())) < 0.1
    assert float(latents.var()) == pytest.approx(1, abs=0.12)
    for axis in (1, 2):
        neighbours = (
            latents.narrow(axis, 1, latents.shape[axis] - 1) * latents.narrow(axis, 0, latents.shape[axis] - 1)
        ).mean()
        assert abs(float(neighbours)) < 0.1


def test_what_was_not_there_is_new(noise):
    before, motion = noise.latents, everywhere(0, 0).clone()
    motion[:, : COLUMNS // 2] = torch.nan
    noise.move(motion)
    half = COLUMNS // 2
    assert torch.allclose(noise.latents[..., half + 1 :], before[..., half + 1 :], atol=1e-5)
    assert abs(likeness(noise.latents[..., : half - 1], before[..., : half - 1])) < 0.15


def test_it_forgets_by_shares_and_goes_on_from_a_state(noise):
    before, state = noise.latents, noise.state()
    noise.forget(0.5)
    assert likeness(noise.latents, before) == pytest.approx(0.5**0.5, abs=0.05)
    noise.restore(state)
    assert torch.equal(noise.latents, before)
    other = CarriedNoise(4, 8, 8, torch.Generator())
    with pytest.raises(ValueError, match="another size"):
        other.restore(state)
