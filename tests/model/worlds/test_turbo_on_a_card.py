"""Turbo on a GPU, which is pretended: it draws what it draws on a CPU, and hardly ever waits for the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import turbo_files
from pretended_card import pretended_card
from published import assert_a_snapshot_brings_the_very_frames_back, frame
from worldjockey.model import Controls, Prompt
from worldjockey.model.worlds import turbo
from worldjockey.model.worlds.turbo import Turbo

pytestmark = pytest.mark.slow

SIZE = 64
WAITS = 1  # a frame: the publisher waits until it is drawn
UPLOADS = 2  # a frame: its numbers, and a live image
SEEN = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
MOTION = np.full((90, 160, 2), 0.05, np.float32)
PLAYED = {
    "alone": {},
    "camera": {"camera": {"yaw": 0.5, "zoom": 1.0}, "steps": 4},
    "live image": {"live": SEEN, "strength": 0.3},
    "live image that moves": {"live": SEEN, "strength": 0.3, "motion": MOTION, "steps": 2},
    "depth": {"live": SEEN, "strength": 0.4, "motion": MOTION, "depth": MOTION[..., 0] * 9},
    "live image alone": {"live": SEEN, "strength": 1.0},
}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """On the CPU, and on the card."""
    root = turbo_files.write(tmp_path_factory.mktemp("weights"))
    with pretended_card() as card, pytest.MonkeyPatch.context() as patch:
        patch.setattr(turbo, "SHAPES", ((SIZE, SIZE),))
        patch.setattr(turbo, "arithmetic", lambda device: torch.float32)
        patch.setattr(Turbo, "warm", lambda world, compiler: None)
        yield Turbo.load(root, "cpu", control="depth"), Turbo.load(root, "cuda", control="depth"), card


@pytest.mark.parametrize("name", PLAYED)
@pytest.mark.parametrize("level", [0, 2])
def test_it_draws_what_it_draws_on_a_cpu_and_waits_only_for_the_finished_frame(worlds, name, level):
    reference, world, card = worlds
    tokens = [reference.encode(Prompt(text)).values for text in ("sea", "neon city")]
    for w in (reference, world):
        w.reset(5)
        w.set_quality(level)
    for n in range(3):
        controls = Controls(tokens[n == 2], dt=0.5, **PLAYED[name])
        expected = frame(reference, controls)
        card.clear()
        drawn = frame(world, controls)
        assert len(card.waits) <= WAITS, "\n".join(card.waits)
        assert len(card.uploads) <= UPLOADS, "\n".join(card.uploads)
        assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_a_snapshot_brings_the_very_frames_back(worlds):
    reference, world, _ = worlds
    controls = Controls(reference.encode(Prompt("sea")).values, dt=0.05, camera={"forward": 1.0})
    assert_a_snapshot_brings_the_very_frames_back(world, controls)
