"""FLUX.2 klein's world against diffusers' own pipeline, with tiny random networks on the path of the large ones."""

from __future__ import annotations

import klein_files
import numpy as np
import PIL.Image
import pytest
import torch
from live_pictures import DT, live, smooth
from pretended_card import pretended_card
from worldjockey.model import Controls, Prompt, WeightsMissing, WorldState, load, slerp
from worldjockey.model.registry import entry_for
from worldjockey.model.worlds import klein
from worldjockey.model.worlds.klein import REFERENCE, TEXT_ROWS, Klein, patched, unpatched
from worldjockey.node.world.frame_publisher import FramePublisher

pytestmark = pytest.mark.slow

SIZE = 128  # pixels


@pytest.fixture(scope="module")
def pipe():
    return klein_files.pipeline().to("cpu")


@pytest.fixture
def world(pipe):
    return Klein(pipe, SIZE, SIZE)


def image(seed=0, size=SIZE):
    return smooth(size, seed)


def noise_of(world, monkeypatch):
    """The noise of each step."""
    seen, drift = [], world._drift
    monkeypatch.setattr(world, "_drift", lambda controls: seen.append(drift(controls)) or seen[-1])
    return seen


def drawn(world):
    """The world's last image, (h, w, 3) 0..1."""
    shown = world._decoded(world.snapshot().data["latents"])[0].clamp(-1, 1)
    return shown.permute(1, 2, 0).numpy() / 2 + 0.5


def assert_same(ours, theirs):
    assert theirs.std() > 0.01, "there is something to compare"
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("reference", [False, True])
def test_the_first_image_is_the_pipelines(world, pipe, monkeypatch, steps, reference):
    seen = image(3, REFERENCE) if reference else None
    prompt, noise = Prompt("neon city in the rain", image=seen), noise_of(world, monkeypatch)
    world.reset(7)
    world.step(Controls(world.encode(prompt).values, dt=DT, steps=steps))
    theirs = pipe(
        prompt=prompt.text, image=PIL.Image.fromarray(seen) if reference else None, height=SIZE, width=SIZE,
        num_inference_steps=steps, guidance_scale=1.0, latents=patched(noise[0]), output_type="np",
    ).images[0]  # fmt: skip
    assert_same(drawn(world), theirs)


@pytest.mark.parametrize(("steps", "strength"), [(1, 0.5), (2, 0.75), (4, 0.6)])
def test_a_live_image_is_denoised_as_by_the_pipeline_from_there(world, pipe, monkeypatch, steps, strength):
    noise, seen = noise_of(world, monkeypatch), image(1)
    world.reset(7)
    world.step(live(world.encode(Prompt("sea")).values, seen, strength, steps=steps))
    over = klein.Klein.live_noise * 2 * (1 - strength)
    levels = world.levels(over, steps, (SIZE // 16) ** 2)
    pixels = torch.from_numpy(seen).permute(2, 0, 1)[None] / 127.5 - 1
    clean = pipe._encode_vae_image(pixels, None)
    theirs = pipe(
        prompt="sea", height=SIZE, width=SIZE, num_inference_steps=steps, guidance_scale=1.0, output_type="np",
        sigmas=[over * (steps - k) / steps for k in range(steps)],
        latents=(1 - levels[0]) * clean + levels[0] * patched(noise[0]),
    ).images[0]  # fmt: skip
    assert_same(drawn(world), theirs)


def test_text_is_the_pipelines_and_a_words_rows_are_its_own(world, pipe):
    theirs = pipe.encode_prompt("neon city", "cpu")[0][0].numpy()
    said = world.encode(Prompt("neon city"))
    assert np.abs(said.values[:TEXT_ROWS] - theirs).max() < 1e-5
    assert said.words == ("neon", "city")
    pieces = pipe.tokenizer.convert_ids_to_tokens(pipe.tokenizer("<|im_start|>user\nneon city").input_ids)
    for word, rows in zip(said.words, said.rows, strict=True):
        assert "".join(pieces[k] for k in np.flatnonzero(rows)).lstrip("Ġ") == word
    assert world.encode(Prompt("word " * 300)).values.shape == said.values.shape
    with pytest.raises(ValueError, match="text and images"):
        world.encode(Prompt(sound=np.zeros(9, np.float32)))


def test_a_reference_fades_with_its_prompt(world):
    plain, looked = (world.encode(Prompt("sea", image=seen)).values for seen in (None, image(3)))

    def frame(share):
        world.reset(1)
        return world.step(Controls(slerp([plain, looked], [1 - share, share]), dt=DT)).float()

    far = [float((frame(share) - frame(0.0)).abs().mean()) for share in (0.5, 1.0)]
    assert far[0] > 0
    assert far[1] > 0
    assert (frame(0.0) - frame(0.01)).abs().max() <= 1, "none of it is left"


def test_strength_and_seed_and_snapshot(world):
    tokens, seen = world.encode(Prompt("sea")).values, image(2)

    def after_a_frame(controls):
        world.reset(0)
        world.step(Controls(tokens, dt=DT))
        return world.step(controls)[0].numpy()

    assert np.array_equal(after_a_frame(live(tokens, seen, 1.0)), seen)
    alone = after_a_frame(Controls(tokens, dt=DT))
    assert np.array_equal(after_a_frame(live(tokens, seen, 0.0)), alone)
    assert not np.array_equal(after_a_frame(live(tokens, seen, 0.4)), alone)
    world.reset(3)
    controls = Controls(tokens, dt=DT, camera={"forward": 1.0}, steps=2)
    first = [world.step(controls).numpy() for _ in range(3)]
    kept = world.snapshot()
    goes_on = [world.step(controls).numpy() for _ in range(2)]
    world.reset(3)
    np.testing.assert_array_equal([world.step(controls).numpy() for _ in range(3)], first)
    world.restore(kept)
    np.testing.assert_array_equal([world.step(controls).numpy() for _ in range(2)], goes_on)
    world.reset(4)
    assert not np.array_equal(world.step(controls).numpy(), first[0])
    with pytest.raises(ValueError, match="klein"):
        world.restore(WorldState({"world": ("turbo", (4, 16, 16))}))


def test_the_last_frame_moves_by_less_than_a_patch(world):
    seen, motion = image(5), np.zeros((SIZE, SIZE, 2), np.float32)
    motion[..., 0] = 8 / SIZE  # pixels; a patch is 16
    tokens = world.encode(Prompt("sea")).values
    world.reset(0)
    world.step(Controls(tokens, dt=DT))
    before = world.snapshot().data["latents"]
    found = world._moved(before, live(tokens, seen, 0.0), before.shape[2:], before, torch.from_numpy(motion))
    assert torch.allclose(found[..., 1:], before[..., :-1], atol=1e-4)
    assert torch.equal(unpatched(patched(before)), before)


@pytest.mark.parametrize("shape", klein.SHAPES)
def test_every_quality_is_the_same_shape_in_whole_patches(pipe, shape):
    for name in Klein(pipe, *shape).spec.qualities:
        w, h = map(int, name.split("x"))
        assert (w % 16, h % 16) == (0, 0)
        assert w * shape[1] == h * shape[0]


def test_nothing_compiles_after_the_warm_up(world):
    torch._dynamo.reset()
    graphs, fresh = [], Klein(klein_files.pipeline(), SIZE, SIZE)

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    fresh.warm(compiler)
    made = len(graphs)
    assert made
    plain, looked = (fresh.encode(Prompt("sea", image=seen)).values for seen in (None, image(3)))
    motion = np.full((SIZE, SIZE, 2), 0.1, np.float32)
    for one in (world, fresh):
        one.reset(5)
    for level in range(3):
        for controls in (
            Controls(plain, dt=DT), Controls(looked, dt=DT, steps=4, camera={"yaw": 1.0}), live(plain, image(), 0.3),
            live(looked, image(), 0.1, motion=motion, steps=2), live(plain, image(), 1.0), Controls(plain, dt=1.0),
        ):  # fmt: skip
            frames = []
            for one in (world, fresh):
                one.set_quality(level)
                frames.append(one.step(controls).int())
            assert int((frames[0] - frames[1]).abs().max()) <= 1
    assert len(graphs) == made


def test_loads_by_name_without_what_no_prompt_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match="wj weights get klein"):
        load("klein")
    klein_files.write(tmp_path / entry_for("klein").weights[0].repository)
    world = load("klein", device="cpu", aspect=16 / 9)
    assert (world.spec.name, world.spec.width, world.spec.height) == ("klein", 640, 384)
    assert len(world.text_encoder.model.layers) == 28
    with pytest.raises(ValueError, match="wj weights get klein"):
        Klein.load(tmp_path, "cpu")
    theirs = klein_files.pipeline().encode_prompt("sea", "cpu")[0][0].detach().numpy()
    assert np.abs(world.encode(Prompt("sea")).values[:TEXT_ROWS] - theirs).max() < 1e-5


@pytest.mark.parametrize("prompt", [Prompt("sea"), Prompt("sea", image=image(3))])
def test_on_a_card_it_draws_the_same_and_waits_only_for_the_finished_frame(world, tmp_path, monkeypatch, prompt):
    motion = np.full((SIZE, SIZE, 2), 0.05, np.float32)
    more = ({}, {"camera": {"zoom": 1.0}, "steps": 4}, {"live": image(), "strength": 0.3, "motion": motion})
    root, tokens = klein_files.write(tmp_path), world.encode(prompt).values
    with pretended_card() as card:
        monkeypatch.setattr(klein, "SHAPES", ((SIZE, SIZE),))
        monkeypatch.setattr(klein, "arithmetic", lambda device: torch.float32)
        monkeypatch.setattr(Klein, "warm", lambda world, compiler: None)
        there = Klein.load(root, "cuda")
        for one in (world, there):
            one.reset(5)
        for n, given in enumerate(more):
            controls = Controls(tokens, dt=0.05, **given)
            expected = world.step(controls)[0].numpy().astype(int)
            card.clear()
            (published,) = FramePublisher(ring=None).take(there.step(controls))
            assert np.abs(np.asarray(published.pixels).astype(int) - expected).max() <= 1
            assert len(card.waits) <= 1, "\n".join(card.waits)
            assert len(card.uploads) <= 1 + (n == 2), "\n".join(card.uploads)
