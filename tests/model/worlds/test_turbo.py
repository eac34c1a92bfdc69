"""SD-Turbo's world against diffusers' own pipeline, with tiny random networks on the very path of the large ones."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import turbo_files
from live_pictures import DT, live, smooth
from turbo_files import WIDTH, networks, scheduler
from worldjockey.model import Controls, Prompt, WeightsMissing, WorldState, load, slerp
from worldjockey.model.painting.crop import cover
from worldjockey.model.worlds import turbo
from worldjockey.model.worlds.image_to_image import SIZE_EIGHTHS, nearest_shape, share
from worldjockey.model.worlds.sources import TURBO
from worldjockey.model.worlds.turbo import CONTROL, SHAPES, Turbo, arithmetic, timesteps
from worldjockey.model.worlds.warp import carried, depth_of, motion_of, moved

pytestmark = pytest.mark.slow

diffusers = pytest.importorskip("diffusers")

SIZE = 64  # pixels


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return turbo_files.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def loaded(root):
    return Turbo.load(root, "cpu")


@pytest.fixture
def world(loaded):
    return Turbo(loaded.unet, loaded.vae, loaded.text_encoder, loaded.tokenizer, loaded.scheduler, SIZE, SIZE)


@pytest.fixture(scope="module")
def pipe(loaded):
    made = diffusers.StableDiffusionImg2ImgPipeline(
        vae=loaded.vae, text_encoder=loaded.text_encoder, tokenizer=loaded.tokenizer, unet=loaded.unet,
        scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def image(seed=0, size=SIZE):
    return smooth(size, seed)


def picture(world):
    """The world's last image, (h, w, 3) 0..1."""
    drawn = world.vae.decode(world.snapshot().data["latents"]).sample[0].clamp(-1, 1)
    return drawn.permute(1, 2, 0).numpy() / 2 + 0.5


def same(world, pipe, tokens, image, steps, of):
    """The world's last image is what the pipeline makes of an image with the same noise."""
    ours = picture(world)
    theirs = pipe(
        prompt_embeds=torch.from_numpy(tokens)[None], image=image, strength=steps / of, num_inference_steps=of,
        guidance_scale=1.0, output_type="np", generator=torch.Generator().manual_seed(7),
    ).images[0]  # fmt: skip
    assert theirs.std() > 0.01, "there is something to compare"
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize(("steps", "of"), [(1, 2), (1, 4), (2, 4), (2, 5), (3, 10), (4, 8), (4, 10)])
def test_a_step_is_one_call_of_the_pipeline(world, pipe, steps, of):
    tokens = world.encode(Prompt("neon city in the rain")).values
    seen = image()
    world.reset(7)
    world.step(live(tokens, seen, 1 - steps / of, steps=steps))
    same(world, pipe, tokens, torch.from_numpy(seen).permute(2, 0, 1)[None] / 255, steps, of)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_first_image_is_the_pipelines_from_nothing(world, pipe, steps):
    tokens = world.encode(Prompt("sea")).values
    world.reset(7)
    world.step(Controls(tokens, dt=DT, steps=steps))
    same(world, pipe, tokens, torch.zeros(1, 4, 8, 8), steps, steps)


@pytest.fixture(scope="module")
def controlled(loaded):
    return Turbo(loaded.unet, loaded.vae, loaded.text_encoder, loaded.tokenizer, loaded.scheduler, SIZE, SIZE,
                 turbo_files.controlnet(loaded.unet))  # fmt: skip


@pytest.mark.parametrize(("steps", "of"), [(1, 2), (2, 4), (4, 8)])
def test_with_depth_a_step_is_one_call_of_the_controlnets_pipeline(controlled, loaded, steps, of):
    theirs = diffusers.StableDiffusionControlNetImg2ImgPipeline(
        vae=loaded.vae, text_encoder=loaded.text_encoder, tokenizer=loaded.tokenizer, unet=loaded.unet,
        controlnet=controlled.controlnet, scheduler=scheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    theirs.set_progress_bar_config(disable=True)
    tokens, seen, depth = controlled.encode(Prompt("neon city")).values, image(), image(4)[..., 0] / np.float32(255)
    controlled.reset(7)
    controlled.step(live(tokens, seen, 1 - steps / of, steps=steps, depth=depth))
    given = (torch.from_numpy(seen).permute(2, 0, 1)[None] / 255, torch.from_numpy(depth).expand(1, 3, SIZE, SIZE))
    drawn = theirs(
        prompt_embeds=torch.from_numpy(tokens)[None], image=given[0], control_image=given[1], strength=steps / of,
        num_inference_steps=of, guidance_scale=1.0, controlnet_conditioning_scale=CONTROL, output_type="np",
        generator=torch.Generator().manual_seed(7),
    ).images[0]  # fmt: skip
    assert np.abs(picture(controlled) - drawn).max() < 1e-4
    controlled.reset(7)
    controlled.step(live(tokens, seen, 1 - steps / of, steps=steps))
    assert np.abs(picture(controlled) - drawn).max() > 1e-3, "the depth shows"


def test_depth_is_cropped_as_its_image_is():
    depth = torch.zeros(20, 80)
    depth[:, 30:50] = 1.0
    assert depth_of(depth, 16, 16).shape == (1, 3, 16, 16)
    assert depth_of(depth, 16, 16).min() > 0.99


def test_text_is_the_pipelines(world, pipe):
    theirs = pipe.encode_prompt("neon city", "cpu", 1, False)[0][0].numpy()
    assert np.abs(world.encode(Prompt("neon city")).values - theirs).max() < 1e-6


def test_a_word_at_nothing_is_the_prompt_without_it(world):
    said = world.encode(Prompt("a Storm over the sea"))
    assert said.words == ("a", "storm", "over", "the", "sea")
    without = world.encode(Prompt("a over the sea")).values
    assert np.abs(said.weighted({"storm": 0.0}) - without).max() < 1e-5
    assert np.abs(said.weighted({"storm": 2.0}) - (2 * said.values - without)).max() < 1e-5
    assert said.values.shape == without.shape == world.encode(Prompt("")).values.shape == (77, WIDTH)
    assert world.encode(Prompt("word " * 200)).values.shape == (77, WIDTH)
    with pytest.raises(ValueError, match="text prompts"):
        world.encode(Prompt(image=image()))


def test_prompts_mix_and_change_the_image(world):
    a, b = (world.encode(Prompt(text)).values for text in ("sea", "forest"))

    def drawn(tokens):
        world.reset(1)
        return world.step(Controls(tokens, dt=DT)).float()

    half = drawn(slerp([a, b], [1, 1]))
    assert (drawn(a) - drawn(b)).abs().max() > 0
    assert torch.equal(drawn(a), drawn(slerp([a, b], [1, 0])))
    assert half.shape == (1, SIZE, SIZE, 3)


def test_the_same_seed_is_the_same_world_and_a_snapshot_goes_on(world):
    tokens = world.encode(Prompt("sea")).values
    controls = Controls(tokens, dt=DT, camera={"forward": 1.0}, steps=2)

    def play(n):
        return torch.cat([world.step(controls) for _ in range(n)])

    world.reset(3)
    first = play(4)
    kept = world.snapshot()
    goes_on = play(3)
    world.reset(3)
    assert torch.equal(play(4), first)
    world.reset(4)
    assert not torch.equal(play(4), first)
    world.restore(kept)
    assert torch.equal(play(3), goes_on)
    with pytest.raises(ValueError, match="64x64"):
        world.restore(WorldState({"world": ("turbo", (4, 9, 9))}))


def test_strength_says_how_much_of_the_live_image_shows(world):
    tokens, seen, other = world.encode(Prompt("sea")).values, image(2), image(3)

    def after_a_frame(controls):
        world.reset(0)
        world.step(Controls(tokens, dt=DT))
        return world.step(controls)[0].numpy().astype(float)

    assert np.array_equal(after_a_frame(live(tokens, seen, 1.0)), seen)
    alone = after_a_frame(Controls(tokens, dt=DT))
    assert np.array_equal(after_a_frame(live(tokens, seen, 0.0)), alone)
    assert not np.array_equal(after_a_frame(live(tokens, seen, 0.3)), after_a_frame(live(tokens, other, 0.3)))
    small = np.zeros((3, 7, 3), np.uint8)
    assert after_a_frame(live(tokens, small, 1.0)).max() == 0  # of any size


def test_without_a_live_image_it_continues_from_its_own_latents(world, pipe, monkeypatch):
    tokens = world.encode(Prompt("sea")).values
    world.reset(0)
    world.step(Controls(tokens, dt=DT))
    before = world.snapshot()
    monkeypatch.setattr(world.vae, "encode", None)  # it would change their colours a little every frame

    def second(**more):
        world.restore(before)
        return world.step(Controls(tokens, dt=DT, **more))

    world.restore(before)
    noise = world._drift(Controls(tokens, dt=DT))
    theirs = scheduler()
    theirs.set_timesteps(timesteps=timesteps(Turbo.flow_noise, 1))
    theirs.set_begin_index(0)
    (t,) = theirs.timesteps
    latents = theirs.add_noise(before.data["latents"], noise, theirs.timesteps)
    text = torch.from_numpy(tokens)[None]
    found = world.unet(theirs.scale_model_input(latents, t), t, encoder_hidden_states=text).sample
    drawn = world.vae.decode(theirs.step(found, t, latents).prev_sample).sample[0].permute(1, 2, 0)
    expected = (drawn / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    assert int((second()[0].int() - expected.int()).abs().max()) <= 1
    assert not torch.equal(second(camera={"zoom": 1.0}), second())


class Biased(torch.nn.Module):
    """A network that finds the image beneath its noise, and adds a little colour to it, as every real one does."""

    def __init__(self, unet, sigmas, bias):
        super().__init__()
        self.config, self.device, self.dtype = unet.config, unet.device, unet.dtype
        self.sigmas, self.bias = sigmas, bias

    def forward(self, scaled, t, encoder_hidden_states, return_dict):
        sigma = self.sigmas[int(t)]
        x = scaled * (sigma**2 + 1) ** 0.5
        if t == 999:
            return ((x - self.noise - encoder_hidden_states.mean()) / sigma,)
        return ((x - (1 + self.bias) * (x - sigma * self.noise) - self.bias) / sigma,)


def biased(world, monkeypatch, bias):
    network, drift = Biased(world.unet, world._sigmas, bias), world._drift

    def kept(controls):
        network.noise = drift(controls)
        return network.noise

    monkeypatch.setattr(world, "unet", network)
    monkeypatch.setattr(world, "_drift", kept)


@pytest.mark.parametrize("bias", [0.05, -0.05])
def test_colours_and_contrast_stay_near_the_first_frames_for_minutes_and_follow_the_prompt(world, monkeypatch, bias):
    biased(world, monkeypatch, bias)

    def colours():
        latents = world.snapshot().data["latents"]
        return latents.mean((2, 3)), latents.std((2, 3))

    tokens = np.zeros((77, WIDTH), np.float32)
    world.reset(0)
    world.step(Controls(tokens, dt=DT))
    mean, deviation = colours()
    for _ in range(200):
        world.step(Controls(tokens, dt=DT))
    later, spread = colours()
    assert (later - mean).abs().max() < 0.7 * deviation.max()
    assert 0.7 < (spread / deviation).min() < (spread / deviation).max() < 1.4
    for n in range(20):
        world.step(Controls(tokens + (n + 1) / 10, dt=DT))
    assert (colours()[0] - mean).min() > 0.7, "another prompt has other colours"


def test_the_last_frame_moves_with_the_live_image_where_that_is_known(world, monkeypatch):
    tokens = world.encode(Prompt("sea")).values
    seen = image(2, 2 * SIZE)
    motion = np.zeros((2 * SIZE, 2 * SIZE, 2), np.float32)
    motion[..., 0] = 0.25  # a quarter of the width to the right
    motion[SIZE:, :, 0] = np.nan
    world.reset(0)
    world.step(Controls(tokens, dt=DT))
    before = world.snapshot().data["latents"]
    sources, denoised = [], world._denoised
    monkeypatch.setattr(world, "_denoised", lambda x, *more: sources.append(x) or denoised(x, *more))
    world.step(live(tokens, seen, 0.0, motion=motion, camera={"zoom": 1.0}))
    live_latents = world._encoded(cover(seen[None], SIZE, SIZE, world.device))
    (source,) = sources
    assert torch.allclose(source[..., :4, 2:], before[..., :4, :-2], atol=1e-5), "it came from the left"
    assert torch.allclose(source[..., :2], live_latents[..., :2], atol=1e-5), "it was beyond the edge before"
    assert torch.allclose(source[..., 4:, :], live_latents[..., 4:, :], atol=1e-5), "nothing was there before"
    frames = [world.step(live(tokens, seen, 1.0, motion=motion))[0].numpy() for _ in range(2)]
    assert np.array_equal(frames[0], frames[1])


def test_motion_is_cropped_as_its_image_is():
    motion = torch.full((40, 80, 2), 0.1)
    motion[:, :40] = torch.nan
    found, known = motion_of(motion, 5, 5, 64, 64)
    assert found.shape == (1, 2, 5, 5)
    assert found[0, 0, :, 3:].numpy() == pytest.approx(0.2), "the same way is twice the share of half the width"
    assert found[0, 1, :, 3:].numpy() == pytest.approx(0.1)
    assert known[0, 0, 0].tolist() == [False, False, known[0, 0, 0, 2].item(), True, True]
    still = torch.zeros(1, 2, 8, 8)
    a, b = torch.rand(2, 1, 4, 8, 8)
    everywhere = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert torch.allclose(carried(a, still, everywhere, b), a, atol=1e-6)
    assert torch.equal(carried(a, still, ~everywhere, b), b)


@pytest.mark.parametrize("energy", [0.0, 1.0])
@pytest.mark.parametrize("rate", [10, 40])
def test_noise_stays_as_strong_and_drifts_by_time_not_by_frames(world, energy, rate):
    world.reset(0)
    world._noisy = (4, 64, 64)
    calm = Controls(np.zeros((1, WIDTH), np.float32), dt=1 / rate, energy=energy)
    first = world._drift(calm).flatten()
    for _ in range(rate):
        last = world._drift(calm).flatten()
    assert abs(float(last.std()) - 1) < 0.03
    correlation = float(torch.corrcoef(torch.stack([first, last]))[0, 1])
    assert abs(correlation - np.exp(-(3.0 if energy else 0.15))) < 0.04


def test_camera_moves_the_scene_as_its_axes_say():
    scene = torch.zeros(1, 3, 64, 64)
    scene[..., 30:34, 30:34] = 1.0

    def centre(**camera):
        found = moved(scene, camera, 0.1)[0, 0]
        rows, columns = (found.sum(d) for d in (1, 0))
        where = torch.arange(64.0)
        return float((rows * where).sum() / rows.sum()), float((columns * where).sum() / columns.sum())

    y, x = centre()
    assert centre(yaw=1.0)[1] == pytest.approx(x - 64 * 0.05, abs=0.2)
    assert centre(strafe=-1.0)[1] == pytest.approx(x + 64 * 0.025, abs=0.2)
    assert centre(pitch=1.0)[0] == pytest.approx(y + 64 * 0.05, abs=0.2)
    assert float(moved(scene, {"forward": 1.0}, 0.5).sum()) > 1.5 * float(scene.sum())
    assert moved(scene, {"yaw": 0.0}, 0.1) is scene


def test_pure_parts():
    assert share(0.0, 0.3, 0.5) == (0.0, 0.3)
    assert share(0.5, 0.3, 0.5) == (1.0, 0.5)
    assert share(1.0, 0.3, 0.5) == (1.0, 0.0)
    assert share(0.4999, 0.3, 0.5) == pytest.approx(share(0.5, 0.3, 0.5), abs=1e-3)
    assert share(-1.0, 0.3, 0.5) == share(0.0, 0.3, 0.5)
    assert share(0.75, 0.3, 0.5) == (1.0, 0.25)
    assert timesteps(1.0, 1) == [999]
    assert timesteps(1.0, 4) == [999, 749, 499, 249]
    assert timesteps(0.5, 2) == [499, 249]
    assert timesteps(0.0, 4) == []
    assert timesteps(7.0, 9) == [999, 749, 499, 249]
    assert all(min(timesteps(s / 100, n)) >= 0 for s in range(1, 101) for n in range(1, 5))
    assert nearest_shape(SHAPES, None) == (512, 512)
    assert nearest_shape(SHAPES, 16 / 9) == (704, 384)
    assert nearest_shape(SHAPES, 9 / 16) == (384, 640)
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[:, 30:50] = 255
    assert cover(wide[None], 16, 16, torch.device("cpu")).min() > 0.99  # the middle, uncropped in height
    assert arithmetic(torch.device("cpu")) is torch.float32
    assert arithmetic(torch.device("cuda")) is torch.float16


@pytest.mark.parametrize("shape", SHAPES)
def test_every_quality_is_the_same_shape_in_whole_latents(loaded, shape):
    spec = Turbo(loaded.unet, loaded.vae, loaded.text_encoder, loaded.tokenizer, loaded.scheduler, *shape).spec
    sizes = [tuple(map(int, name.split("x"))) for name in spec.qualities]
    assert sizes[0] == shape == (spec.width, spec.height)
    for before, (w, h) in itertools.pairwise(sizes):
        assert (w % 8, h % 8) == (0, 0)
        assert w * shape[1] == h * shape[0], "or the image would jump in its frame"
        assert w < before[0]


def test_a_smaller_image_is_that_of_a_smaller_world_and_it_goes_on_through_the_change(world, monkeypatch):
    tokens = world.encode(Prompt("neon city")).values
    small = SIZE * SIZE_EIGHTHS[2] // 8
    peer = Turbo(world.unet, world.vae, world.text_encoder, world.tokenizer, world.scheduler, small, small)
    noise, drift = [], world._drift
    monkeypatch.setattr(world, "_drift", lambda controls: noise.append(drift(controls)) or noise[-1])
    monkeypatch.setattr(peer, "_drift", lambda controls: noise[-1])
    world.set_quality(2)
    for controls in (live(tokens, image(), 0.5, steps=2), Controls(tokens, dt=DT, camera={"yaw": 1.0})):
        drawn = world.step(controls)
        assert drawn.shape == (1, small, small, 3)
        assert torch.equal(drawn, peer.step(controls))
    assert float(noise[-1].std()) == pytest.approx(1, abs=0.1), "as strong as in the full size"

    biased(world, monkeypatch, 0.0)

    def played(*levels, seed=0):
        """From given latents, on its own."""
        coarse = torch.randn((1, 4, 3, 3), generator=torch.Generator().manual_seed(seed))
        world.reset(3)
        smooth = torch.nn.functional.interpolate(coarse, (8, 8), mode="bilinear")
        world.restore(WorldState({**world.snapshot().data, "latents": smooth}))
        return [(world.set_quality(n), world.step(Controls(tokens, dt=DT)))[1][0].numpy().astype(float) for n in levels]

    full, reduced = played(0, 0, 0, 0), played(0, 0, 2, 0)
    assert [f.shape[0] for f in reduced] == [SIZE, SIZE, small, SIZE]
    assert np.array_equal(full[1], reduced[1])
    back = np.abs(reduced[3] - full[3]).mean()
    other = np.abs(played(1, 1, 1, 0)[3] - full[3]).mean()
    stranger = np.abs(played(0, 0, 0, 0, seed=1)[3] - full[3]).mean()
    assert max(back, other) < 0.5 * stranger, "the same image, a little softer, with the same noise"


def test_a_snapshot_may_be_of_another_size(world):
    tokens = world.encode(Prompt("sea")).values
    world.reset(1)
    world.set_quality(1)
    world.step(Controls(tokens, dt=DT))
    kept = world.snapshot()
    expected = world.step(Controls(tokens, dt=DT))
    world.restore(kept)
    assert torch.equal(world.step(Controls(tokens, dt=DT)), expected)
    world.set_quality(0)
    world.restore(kept)
    assert world.step(Controls(tokens, dt=DT)).shape == (1, SIZE, SIZE, 3)
    for level in (-3, 99):
        world.set_quality(level)
        world.step(Controls(tokens, dt=DT))


class OneLayer(torch.nn.Module):
    """In the large network's place where that would take a minute to trace."""

    def __init__(self, unet):
        super().__init__()
        self.config, self.device, self.dtype = unet.config, unet.device, unet.dtype
        self.layer = torch.nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, latents, t, encoder_hidden_states, return_dict):
        return (self.layer(latents) + encoder_hidden_states.mean() * t / 1000,)


@pytest.mark.parametrize("fails", [False, True])
def test_compiles_where_it_can_and_plays_where_it_cannot(world, fails, caplog):
    _, vae, _ = networks()
    unet = world.unet if fails else OneLayer(world.unet)
    small = Turbo(unet, vae, world.text_encoder, world.tokenizer, world.scheduler, SIZE, SIZE)
    tokens = small.encode(Prompt("sea")).values
    seen = image()
    before = small.step(live(tokens, seen, 0.5))
    graphs = []

    def compiler(graph, inputs):
        if fails:
            raise RuntimeError("no compiler here")
        graphs.append(graph)
        return graph.forward

    if fails:
        small.warm(compiler)
        (record,) = (r for r in caplog.records if "without torch.compile" in r.message)
        assert record.exc_info, "the log has the traceback"
    else:
        small.warm(compiler)
        assert graphs
    small.reset(0)
    after = small.step(live(tokens, seen, 0.5))
    assert int((before.int() - after.int()).abs().max()) <= 1


class StaticOutputs:
    """A compiler whose functions write into the same memory at each call, as CUDA graphs do."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        kept = []

        def run(*args):
            made = graph.forward(*args)
            kept[:] = kept or [tensor.clone() for tensor in made]
            for old, new in zip(kept, made, strict=True):
                old.copy_(new)
            return tuple(kept)

        return run


def channels_last(unet, vae):
    return (part.to(memory_format=torch.channels_last) for part in (unet, vae))


def test_nothing_compiles_after_the_warm_up_and_no_output_of_a_graph_outlives_the_next(world):
    torch._dynamo.reset()
    unet, vae, _ = networks()
    text, tokenizer, euler = world.text_encoder, world.tokenizer, world.scheduler
    plain, compiled = (Turbo(*channels_last(*each), text, tokenizer, euler, SIZE, SIZE)
                       for each in ((unet, vae), networks()[:2]))  # fmt: skip
    compiler = StaticOutputs()
    compiled.warm(compiler)
    assert compiler.graphs == 9, "three networks in three sizes"
    tokens, seen = [plain.encode(Prompt(text)).values for text in ("sea", "neon city at night")], image()
    motion = np.full((SIZE, SIZE, 2), 0.1, np.float32)
    for one in (plain, compiled):
        one.reset(5)
    for level in range(3):
        for controls in (
            Controls(tokens[0], dt=DT), Controls(tokens[0], dt=DT, steps=2, camera={"zoom": 1.0, "yaw": 0.3}),
            Controls(tokens[1], dt=1.0, steps=3), live(tokens[1], seen, 0.3, steps=4, energy=1.0),
            live(tokens[1], seen, 0.0, motion=motion), live(tokens[0], seen, 0.8, motion=motion),
            live(tokens[0], seen, 1.0), Controls(tokens[0], dt=DT),
        ):  # fmt: skip
            frames = []
            for one in (plain, compiled):
                one.set_quality(level)
                frames.append(one.step(controls).int())
            assert int((frames[0] - frames[1]).abs().max()) <= 1
        kept = compiled.snapshot()
        compiled.restore(kept)
    assert compiler.graphs == 9


def test_with_depth_nothing_compiles_after_the_warm_up_either(world):
    torch._dynamo.reset()
    unet, vae, _ = networks()
    text, tokenizer, euler = world.text_encoder, world.tokenizer, world.scheduler
    plain, compiled = (Turbo(*channels_last(*each), text, tokenizer, euler, SIZE, SIZE, turbo_files.controlnet(unet))
                       for each in ((unet, vae), networks()[:2]))  # fmt: skip
    compiler = StaticOutputs()
    compiled.warm(compiler)
    assert compiler.graphs == 15, "and three of the ControlNet, and three of the network with it"
    tokens, depth = plain.encode(Prompt("sea")).values, np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64)
    for one in (plain, compiled):
        one.reset(5)
    for level in range(3):
        for controls in (Controls(tokens, dt=DT, steps=3), live(tokens, image(), 0.4, depth=depth, steps=2)):
            frames = []
            for one in (plain, compiled):
                one.set_quality(level)
                frames.append(one.step(controls).int())
            assert int((frames[0] - frames[1]).abs().max()) <= 1
    assert compiler.graphs == 15


def test_loads_by_name_and_says_what_is_missing(root, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match="wj weights get turbo"):
        load("turbo")
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(root))
    world = load("turbo", device="cpu", aspect=16 / 9)
    assert (world.spec.name, world.spec.width, world.spec.height) == ("turbo", 704, 384)
    assert world.controlnet is None
    assert load("turbo:control=depth", device="cpu").controlnet is not None
    monkeypatch.setattr(turbo, "arithmetic", lambda device: torch.float16)
    half = load("turbo", device="cpu")
    assert {p.dtype for part in (half.unet, half.vae, half.text_encoder) for p in part.parameters()} == {torch.float16}
    assert half.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    (tmp_path / TURBO.repository / "unet").mkdir(parents=True)
    with pytest.raises(ValueError, match="wj weights get turbo"):
        Turbo.load(tmp_path, "cpu")


def test_half_precision_as_on_a_gpu_draws_the_same(world):
    unet, vae, _ = networks()
    unet.load_state_dict(world.unet.state_dict())
    vae.load_state_dict(world.vae.state_dict())
    half = Turbo(unet.half(), vae.half(), world.text_encoder, world.tokenizer, world.scheduler, SIZE, SIZE)
    tokens = world.encode(Prompt("sea")).values
    controls = live(tokens, image(), 0.3, camera={"forward": 1.0}, steps=2)
    for one in (world, half):
        one.reset(0)
        one.step(controls)
    drawn, rough = (one.step(controls)[0].int() for one in (world, half))
    assert drawn.float().std() > 3
    assert int((drawn - rough).abs().max()) <= 3
    kept = half.snapshot()
    going_on = half.step(controls)
    half.restore(kept)
    assert torch.equal(half.step(controls), going_on)


def test_noise_stays_on_what_a_live_picture_shows(world):
    """A picture that moves by a whole latent carries its noise along; the screen's noise does not stay."""
    rows, columns = world._noisy[1:]
    live = np.zeros((rows * 8, columns * 8, 3), np.uint8)
    motion = np.zeros((rows, columns, 2), np.float32)
    motion[..., 0] = 1 / columns
    tokens = world.encode(Prompt("a wall")).values
    still = Controls(tokens, dt=1e-6, live=live, motion=0 * motion)
    first = world._drift(still)
    assert torch.allclose(world._drift(still), first, atol=1e-2)
    moved_on = world._drift(replace(still, motion=motion))
    assert torch.allclose(moved_on[..., 1:], first[..., :-1], atol=1e-2)
    assert float((moved_on - first).abs().mean()) > 0.5
