"""LTX-2 on a GPU, which is pretended: where its parts lie, what they wait for, and that it draws as on a CPU."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
import transformers
from pretended_card import pretended_card
from published import frames
from worldjockey.model import Controls, Prompt

pytestmark = pytest.mark.slow

pytest.importorskip("diffusers.pipelines.ltx2")
from ltx_files import ROWS, tiny  # noqa: E402
from worldjockey.model.worlds.ltx import world as ltx  # noqa: E402
from worldjockey.model.worlds.ltx.world import LTX2  # noqa: E402

SIZE = 64
# Of a chunk: diffusers sends its noise and its schedule to the GPU, and takes the past frames by way of the host.
WAITS, UPLOADS = 14, 8


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """On the CPU, and on the card."""
    root = tmp_path_factory.mktemp("weights")
    pipe = tiny()
    pipe.save_pretrained(root)
    with pytest.MonkeyPatch.context() as patch, pretended_card() as card:
        patch.setattr(LTX2, "warm", lambda world, compiler: None)
        patch.setattr(torch.backends.cudnn, "benchmark", False)
        # Its tensors without data, and its masks, are more than the pretended card can do: it is on the CPU, as on a
        # smaller GPU.
        patch.setattr(ltx, "encoder_device", lambda *_: torch.device("cpu"))
        patch.setattr(
            transformers.Gemma3ForConditionalGeneration, "from_pretrained", lambda *_, **__: deepcopy(pipe.text_encoder)
        )
        precise = dict.fromkeys(ltx.kinds(torch.device("cpu")), torch.float32)
        patch.setattr(ltx, "kinds", lambda device: precise)
        yield *(LTX2(LTX2.load(root, device).pipe, SIZE, SIZE, ROWS) for device in ("cpu", "cuda")), card


def test_it_draws_what_it_draws_on_a_cpu_and_waits_for_little(worlds):
    reference, world, card = worlds
    expected_tokens, tokens = (each.encode(Prompt("sea")).values for each in (reference, world))
    for each in (reference, world):
        each.reset(5)
    for _ in range(3):
        expected, expected_sound = frames(reference, Controls(expected_tokens, steps=4)), reference.audio()
        card.clear()
        drawn, sound = frames(world, Controls(tokens, steps=4)), world.audio()
        assert len(card.waits) <= WAITS, "\n".join(card.waits)
        assert len(card.uploads) <= UPLOADS, "\n".join(card.uploads)
        assert np.abs(drawn.astype(int) - expected).mean() < 0.5
        np.testing.assert_allclose(sound, expected_sound, atol=1e-3)
    assert world.timings["step_ms"] > 0
