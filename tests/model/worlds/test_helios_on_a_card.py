"""Helios on a GPU, which is pretended: where its parts lie, what they wait for, and that it draws as on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helios_files import tiny
from pretended_card import pretended_card
from published import frames
from worldjockey.model import Controls, Prompt
from worldjockey.model.worlds.helios import world as helios
from worldjockey.model.worlds.helios.world import CHUNK_LATENTS, Helios

pytestmark = pytest.mark.slow

SIZE, ROWS = 32, 24
# Of the first step of a chunk; diffusers' scheduler sends its tables to the GPU and reads them back one by one.
CHUNK_WAITS, CHUNK_UPLOADS = 16, 10
WAITS, UPLOADS = 1, 0  # of each other step


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """On the CPU, and on the card."""
    root = tmp_path_factory.mktemp("weights")
    tiny(use_dynamic_shifting=True).save_pretrained(root)
    with pytest.MonkeyPatch.context() as patch, pretended_card() as card:
        patch.setattr(Helios, "warm", lambda world, compiler: None)
        patch.setattr(Helios, "choose_attention", lambda world: None)
        patch.setattr(torch.backends.cudnn, "benchmark", False)
        precise = dict.fromkeys(("transformer", "text_encoder", "vae"), torch.float32)
        patch.setattr(helios, "kinds", lambda device: precise)
        yield *(Helios(Helios.load(root, device).pipe, SIZE, SIZE, ROWS) for device in ("cpu", "cuda")), card


def test_it_draws_what_it_draws_on_a_cpu_and_waits_for_little(worlds):
    reference, world, card = worlds
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    for prompt in (Prompt("sea"), Prompt("forest", image=image)):
        expected_tokens, tokens = (each.encode(prompt).values for each in (reference, world))
        for each in (reference, world):
            each.reset(5)
        for n in range(2 * CHUNK_LATENTS):
            expected = frames(reference, Controls(expected_tokens, steps=2))
            card.clear()
            drawn = frames(world, Controls(tokens, steps=2))
            first, fresh = n % CHUNK_LATENTS == 0, n == 0
            waits, uploads = (CHUNK_WAITS, CHUNK_UPLOADS) if first else (WAITS, UPLOADS)
            assert len(card.waits) <= waits * (1 + fresh), "\n".join(card.waits)  # it takes twice the steps
            assert len(card.uploads) <= uploads * (1 + fresh), "\n".join(card.uploads)
            assert np.abs(drawn.astype(int) - expected).mean() < 0.5
    assert world.timings["step_ms"] > 0


def test_a_snapshot_brings_the_very_frames_back(worlds):
    world = worlds[1]
    controls = Controls(world.encode(Prompt("rain")).values, steps=1)
    world.reset(2)
    for _ in range(CHUNK_LATENTS + 2):
        world.step(controls)
    state = world.snapshot()
    first = np.concatenate([frames(world, controls) for _ in range(4)])
    world.restore(state)
    np.testing.assert_array_equal(first, np.concatenate([frames(world, controls) for _ in range(4)]))
