"""What the score of stability measures: change that no motion explains."""

import numpy as np
import pytest
import torch
import turbo_files
from worldjockey.model.evaluate.scorecard import stability
from worldjockey.model.evaluate.scorecard.play import Ask
from worldjockey.model.evaluate.scorecard.truth import StageWorld
from worldjockey.model.painting.carried_noise import CarriedNoise
from worldjockey.model.painting.painted import Painted
from worldjockey.model.spec import Controls, Geometry, Prompt, Tokens
from worldjockey.model.worlds.turbo import Turbo

SCENE = Ask("a wall", {})
ONE_LATENT = 0.673  # of yaw: the panorama goes by one of 88 latents a step


class Wall:
    """A wall that goes by at 4 pixels a frame, and some noise that stays on the screen."""

    def __init__(self, noise):
        self.noise, self.at = noise, 0
        rng = np.random.default_rng(0)
        self.wall = np.kron(rng.integers(60, 200, (9, 60, 3)), np.ones((8, 8, 1)))
        self.screen = rng.normal(size=(72, 128, 3))

    def encode(self, prompt):
        return StageWorld().encode(prompt)

    def reset(self, seed):
        self.at = 0

    def step(self, controls):
        self.at += 4
        frame = self.wall[:, self.at : self.at + 128] + self.noise * self.screen
        return torch.from_numpy(frame.clip(0, 255).astype(np.uint8))[None]

    def geometry(self):
        motion = np.zeros((18, 32, 2), np.float32)
        motion[..., 0] = -4 / 128
        motion[:, -1] = np.nan
        return Geometry(motion)


def test_a_motion_explains_what_moves_and_noise_on_the_screen_is_left():
    assert max(stability.play(Wall(0), [SCENE]).values()) < 0.5
    assert min(stability.play(Wall(8), [SCENE]).values()) > 6


def test_a_world_that_does_not_tell_its_motion_is_not_scored():
    world = StageWorld(72, 128)
    world.geometry = None
    with pytest.raises(ValueError, match="does not tell how its pictures move"):
        stability.play(world, [SCENE])


def test_a_painting_boils_less_with_noise_that_moves_along(monkeypatch):
    """Random networks paint little more than their noise: the camera turns, and it stays on the things, or does not."""
    unet, vae, text = turbo_files.networks()

    def boiling():
        painter = Turbo(unet, vae, text, None, turbo_files.scheduler(), 704, 384)
        painter.encode = lambda prompt: turbo_tokens(painter)
        world = Painted(StageWorld(96, 176), painter, wait=float("inf"))
        tokens = world.encode(Prompt("mountains, noon")).values
        controls = Controls(tokens, camera={"yaw": ONE_LATENT}, dt=1 / 20, paint=0.5)
        found, before = [], None
        for _ in range(8):
            now = world.step(controls)[0]
            if before is not None:
                found.append(stability.unexplained(before, now, torch.from_numpy(world.geometry().motion)))
            before = now
        return np.mean(found[2:])

    along = boiling()
    monkeypatch.setattr(CarriedNoise, "move", lambda self, motion: None)
    assert along < 0.8 * boiling()


def turbo_tokens(painter):
    return Tokens(np.zeros((painter.text_encoder.config.max_position_embeddings, turbo_files.WIDTH), np.float32))
