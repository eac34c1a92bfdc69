"""Frames of twice the size: sharper than the small ones scaled up, the same by every runtime, and only where there is
time for them."""

import threading

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.nano import runtime_choice
from worldjockey.model.nano.guided_decoder import GuidedDecoder
from worldjockey.model.nano.transformer import Conditioning
from worldjockey.model.nano.world import Nano
from worldjockey.model.registry import offline
from worldjockey.model.stage.render import render
from worldjockey.model.stage.sample import moments

PARITY_DB = 38.0
DANCE = "a dancer in a neon city at night"


@pytest.fixture(scope="module")
def large():
    return Nano.load(device="cpu", size="large")


def psnr(a, b):
    error = ((np.asarray(a, np.float32) - np.asarray(b, np.float32)) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def controls(world, text=DANCE, **more):
    return Controls(world.encode(Prompt(text)).values, dt=0.05, **more)


@torch.inference_mode()
def test_what_it_decodes_is_nearer_to_the_true_picture_than_small_frames_scaled_up(large):
    gains = []
    for scene in (scenes[i : i + 1] for scenes in [moments(11, 6)] for i in range(6)):
        true = render(scene, 576, 1024)
        latents = large.autoencoder.encode(F.interpolate(true, (288, 512), mode="area"))
        small = F.interpolate(large.autoencoder.decode(latents), scale_factor=2, mode="bicubic").clamp(0, 1)
        vectors = Conditioning.of(scene, torch.tensor([0.05])).vectors()
        guide = large.pytorch.guide(scene, large.pytorch.read(scene), vectors)
        drawn = large.guided(latents, guide).clamp(0, 1)
        gains.append(psnr(drawn * 255, true * 255) - psnr(small * 255, true * 255))
    assert np.mean(gains) > 0.5, gains


def test_the_size_follows_the_quality_and_the_world_stays_the_same(large):
    large.reset(3)
    sizes = []
    for level in (0, 1, 0):
        large.set_quality(level)
        spec, frame = large.spec, large.step(controls(large))
        assert frame.shape == (1, spec.height, spec.width, 3)
        sizes.append((frame, spec))
    assert [frame.shape[2] for frame, _ in sizes] == [1024, 512, 1024]
    assert sizes[0][1].qualities == ("1024x576", "512x288")
    halves = [F.avg_pool2d(f.permute(0, 3, 1, 2).float(), f.shape[2] // 512) for f, _ in sizes]
    assert psnr(halves[0], halves[1]) > 24, "the scene goes on, whatever its size"


def test_the_matte_fits_the_large_frame(large):
    large.reset(1)
    large.set_quality(0)
    frame = large.step(controls(large, matte=True, acts={"dance": 1.0}))
    assert frame.shape == (1, 576, 1024, 4)
    assert frame[..., 3].max() == 255


def test_a_live_picture_alone_is_not_mixed_with_the_edges_of_the_world(large):
    picture = np.full((90, 160, 3), (200, 120, 40), np.uint8)
    large.set_quality(0)
    large.reset(1)
    frame = large.step(controls(large, live=picture, strength=1.0))[0].float()
    assert frame.std((0, 1)).max() < 12, "an even picture stays even"


def test_a_texel_survives_its_file(large, tmp_path):
    path = tmp_path / "again.safetensors"
    large.guided.save(path)
    again = GuidedDecoder.load(path, large.autoencoder.config)
    before, after = (decoder.textures.panorama.table.detach() for decoder in (large.guided, again))
    assert float((before - after).abs().max()) <= float(before.abs().max()) / 127


def test_a_world_without_its_file_has_no_large_size_and_says_so(tmp_path, large):
    path = tmp_path / "mine.safetensors"
    large.save(path)
    with pytest.raises(ValueError, match=r"mine-large.safetensors is missing.*size=small"):
        Nano.load(path, device="cpu", size="large")
    world = Nano.load(path, device="cpu", size="auto")
    assert world.step(controls(world)).shape == (1, 288, 512, 3)


def test_a_broken_file_of_the_large_size_is_named_at_the_start_or_leaves_the_small_size(
    tmp_path, large, monkeypatch, caplog
):
    path = tmp_path / "mine.safetensors"
    large.save(path)
    (tmp_path / "mine-large.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"mine-large.safetensors is not the decoder of a nano.*reinstall"):
        Nano.load(path, device="cpu", size="large")
    monkeypatch.setattr(runtime_choice, "_remembered", lambda nano, threads: runtime_choice.Known("torch", 0.001))
    monkeypatch.setattr(runtime_choice, "STEPS_NOTED", 1)
    world = Nano.load(path, device="cpu", runtime="auto", size="auto")
    assert world.step(controls(world)).shape == (1, 288, 512, 3)
    for thread in [thread for thread in threading.enumerate() if thread.name == "runtimes"]:
        thread.join(120)
    assert world.step(controls(world)).shape == (1, 288, 512, 3)
    assert "frames stay at the small size" in caplog.text


@pytest.mark.parametrize(("cost", "width"), [(0.001, 1024), (1e6, 512)])
def test_the_large_size_is_taken_where_there_is_time_for_it(cost, width, monkeypatch):
    monkeypatch.setattr(
        runtime_choice, "_remembered", lambda nano, threads: runtime_choice.Known("torch", cost)
    )  # fmt: skip
    monkeypatch.setattr(runtime_choice, "STEPS_NOTED", 2)
    world = Nano.load(device="cpu", runtime="auto", size="auto")
    for _ in range(3):
        frame = world.step(controls(world))
    for thread in [thread for thread in threading.enumerate() if thread.name == "runtimes"]:
        thread.join(120)
    frame = world.step(controls(world))
    assert frame.shape[2] == width


@pytest.mark.slow
def test_large_frames_of_openvino_are_pytorchs(cache, large):
    compiled = load("nano:size=large,runtime=openvino", device="cpu")
    large.set_quality(0)
    for world in (large, compiled):
        world.reset(5)
    for text in (DANCE, "kaleidoscope with petals", "calm ocean at dawn"):
        for _ in range(2):
            one, other = (world.step(controls(world, text)) for world in (large, compiled))
            assert psnr(one, other) >= PARITY_DB, text
    assert compiled.spec.runtime.startswith("openvino")
    assert not compiled.message


def test_what_is_rendered_offline_has_the_large_size_unless_another_was_asked_for():
    assert offline("nano") == "nano:size=large"
    assert offline("nano:runtime=torch") == "nano:runtime=torch,size=large"
    assert offline("nano:size=small") == "nano:size=small"
    assert offline("testcard") == "testcard"


def test_a_world_that_has_settled_keeps_its_size(monkeypatch):
    monkeypatch.setattr(runtime_choice, "_remembered", lambda nano, threads: runtime_choice.Known("torch", 0.001))
    monkeypatch.setattr(runtime_choice, "STEPS_NOTED", 1)
    world = Nano.load(device="cpu", runtime="auto", size="auto")
    world.settle()
    frames = [world.step(controls(world)) for _ in range(3)]
    assert {frame.shape[2] for frame in frames} == {512}
