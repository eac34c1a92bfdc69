"""A Wan world on a GPU, which is pretended: it draws what it draws on a CPU, and never waits for the device itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import wan_files
from pretended_card import pretended_card
from worldjockey.model import Controls, Prompt
from worldjockey.model.worlds.wan import decode, kernels, rollout
from worldjockey.model.worlds.wan.config import WanConfig
from worldjockey.model.worlds.wan.world import Wan
from worldjockey.node.world.frame_publisher import FramePublisher

pytestmark = pytest.mark.slow

TINY = WanConfig(dim=48, ffn=64, heads=2, layers=2, freq_dim=16, text_dim=12, text=300, window=9, sink=3)
LONGLIVE = "wan-1.3b-longlive"
WAITS = 1  # a step: the publisher waits until its frames are drawn
UPLOADS = 2  # a step: the noise of a chunk, and a new prompt


@pytest.fixture(scope="module", params=["tiny", "full"])
def worlds(tmp_path_factory, request):
    """On the CPU, and on the card."""
    root = tmp_path_factory.mktemp("weights")
    wan_files.write_family(root, TINY)
    kernels.fit_flashdreams("cpu")
    found = kernels.find_spec
    with wan_files.small(root, TINY), pytest.MonkeyPatch.context() as patch:
        for module in (rollout, decode):
            patch.setattr(module, "arithmetic", lambda device: torch.float32)
        patch.setattr(kernels, "find_spec", lambda name: name if name == "triton" else found(name))
        patch.setattr(kernels, "_fused", [(kernels.rotate, kernels.attend)])
        how = {"decoder": request.param, "compiler": None}
        with pretended_card() as card:
            yield Wan.load(LONGLIVE, root, "cpu", **how), Wan.load(LONGLIVE, root, "cuda", **how), card
    kernels.fit_flashdreams("cpu")


def frames(world, controls):
    """As they are published."""
    return np.stack([each.pixels for each in FramePublisher(ring=None).take(world.step(controls))]).astype(int)


def test_it_draws_what_it_draws_on_a_cpu_and_waits_only_for_the_finished_frames(worlds):
    reference, world, card = worlds
    neon, sea = (reference.encode(Prompt(text)).values for text in ("neon city", "the sea"))
    for each in (reference, world):
        each.reset(5)
    for level, tokens, steps in ((0, neon, 15), (0, sea, 4), (1, neon, 9), (2, sea, 9), (0, neon, 9)):
        for each in (reference, world):
            each.set_quality(level)
        for _ in range(steps):
            controls = Controls(tokens, steps=4)
            expected = frames(reference, controls)
            card.clear()
            drawn = frames(world, controls)
            assert len(card.waits) <= WAITS, "\n".join(card.waits)
            assert len(card.uploads) <= UPLOADS, "\n".join(card.uploads)
            assert np.abs(drawn - expected).mean() < 0.5
    assert set(world.timings) >= {"decode_ms", "step_ms"}
    assert len(card.waits) <= WAITS, "nor does whoever asks for the times"


def test_a_snapshot_brings_the_very_frames_back(worlds):
    reference, world, _ = worlds
    controls = Controls(reference.encode(Prompt("the sea")).values, steps=2)
    for at in (0, 4, 15):
        world.reset(2)
        for _ in range(at):
            world.step(controls)
        state = world.snapshot()
        first = np.concatenate([frames(world, controls) for _ in range(5)])
        world.restore(state)
        np.testing.assert_array_equal(first, np.concatenate([frames(world, controls) for _ in range(5)]))
