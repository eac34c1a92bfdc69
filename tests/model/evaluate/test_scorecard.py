"""The measures themselves, on worlds whose answers are known."""

import json
import zlib
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from worldjockey.model import ACTS, Prompt, Tokens, WorldSpec, WorldState
from worldjockey.model.evaluate.cli import main
from worldjockey.model.evaluate.probe import Probe
from worldjockey.model.evaluate.scorecard import (
    autoencoder,
    camera,
    clip,
    contact_sheet,
    continuity,
    drift,
    few_steps,
    memory,
    obedience,
    reaction,
    sound,
    speed,
)
from worldjockey.model.evaluate.scorecard.play import QUIET, ask, quiet_scenes, tokens
from worldjockey.model.evaluate.scorecard.row import Row
from worldjockey.model.evaluate.scorecard.truth import StageWorld
from worldjockey.model.stage.vocabulary import ATTRIBUTES

pytestmark = pytest.mark.slow

H, W = 144, 256
SCENES = quiet_scenes(np.random.default_rng(0), 1)


def texture(seed):
    """A seamless (3 H, 8 W) image with corners everywhere."""
    noise = np.random.default_rng(seed).random((3 * H // 8, W))
    big = cv2.resize(np.pad(noise, 2, mode="wrap"), None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)[16:-16, 16:-16]
    return (big.clip(0, 1) * 255).astype(np.float32)


class Wall:
    """A far wall with a near one under it, seen by a camera that obeys; `flaw` names what it does wrong.

    Both walls turn alike with yaw, and only the near one moves with strafe and forward.
    """

    spec = WorldSpec("wall", W, H, 20.0, 1, ACTS, ("text",), "cpu")
    walls = (texture(1), texture(2))

    def __init__(self, flaw=""):
        self.flaw = flaw
        self.reset(0)

    def reset(self, seed):
        self.steps, self.level, self.seconds = 0, 1.0, 0.0
        self.at = dict.fromkeys(("strafe", "forward", "yaw", "pitch", "zoom"), 0.0)
        self.past = []

    def encode(self, prompt):
        rng = np.random.default_rng(zlib.crc32(prompt.text.encode()))
        return Tokens(rng.uniform(0, 1, (1, 4)).astype(np.float32))

    def step(self, c):
        dt = 0.05 if self.flaw == "blind to dt" else c.dt
        for axis, v in c.camera.items():
            if axis == "strafe" and "strafe turns" in self.flaw:
                axis = "yaw"
            self.at[axis] += v * dt * (-1 if "backwards" in self.flaw else 1)
        if self.flaw == "forgets" and c.camera:
            self.at["pitch"] += 0.03
        self.seconds += dt
        self.steps += 1
        a, half = self.at, H / 2
        views = []
        for wall, near in zip(self.walls, (0.0, 1.0), strict=True):
            scale = np.exp(a["zoom"] + near * a["forward"])
            x = half * (1.2 * a["yaw"] + near * 1.5 * a["strafe"])
            y = -half * a["pitch"]
            # What the middle of the screen shows is the middle of the wall, shifted.
            m = np.array([[1 / scale, 0, 4 * W + x - W / 2 / scale], [0, 1 / scale, 1.5 * H + y - half / scale]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            views.append(cv2.warpAffine(wall, m, (W, H), flags=flags, borderMode=cv2.BORDER_WRAP))
        image = np.concatenate([views[0][: H // 2], views[1][H // 2 :]])
        said = c.tokens
        if self.flaw == "late":
            self.past.append(said)
            said = self.past[max(0, len(self.past) - 4)]
        colour = said[0, :3] if self.flaw != "cuts" else (said[0, :3] > 0.5) * 1.0
        self.level *= 0.995 if self.flaw == "fades" else 1.0
        beat = 0.0 if self.flaw == "deaf" else 0.3 * c.sound[0]
        rgb = (image[..., None] * (0.25 + 0.5 * colour) * self.level * (0.7 + beat)).clip(0, 255)
        return torch.from_numpy(rgb.astype(np.uint8))[None]

    def snapshot(self):
        return WorldState({"at": dict(self.at), "seconds": self.seconds, "past": list(self.past)})

    def restore(self, state):
        self.at, self.past = dict(state.data["at"]), list(state.data["past"])
        self.seconds = state.data["seconds"]


def test_the_camera_is_read_from_the_frames():
    good, wrong = (camera.play(Wall(f), SCENES) for f in ("", "backwards, strafe turns"))
    assert set(good.values()) == {1.0}, good
    assert wrong.pop("told apart") == 0.5
    assert set(wrong.values()) == {0.0}, wrong


def test_a_world_that_moves_by_the_step_has_no_true_speed():
    good, blind = (speed.play(Wall(f), SCENES) for f in ("", "blind to dt"))
    assert good["yaw"] == pytest.approx(1, abs=0.05)
    assert good["strafe"] == pytest.approx(1, abs=0.08)
    assert blind["yaw"] == pytest.approx(10 / 24, abs=0.05)


@pytest.mark.parametrize("dt", [1 / 24, 1 / 10])
@pytest.mark.parametrize("seconds", [1.0, 1.7])
def test_the_figures_cycle_is_found_at_any_step(dt, seconds):
    t = torch.arange(0, 5, dt)
    height = 72 + 30 * torch.sin(2 * torch.pi * t / seconds) + 12 * torch.sin(4 * torch.pi * t / seconds + 1)
    rows = torch.arange(H)
    frames = [(255 * torch.exp(-(((rows - y) / 12) ** 2)))[:, None, None].expand(H, W, 3).byte() for y in height]
    assert speed.cycle(frames, dt) == pytest.approx(seconds, rel=0.05)


def test_a_cut_is_no_transition():
    (smooth,), (cut,) = (continuity.play(Wall(f), 1) for f in ("", "cuts"))
    assert smooth <= 1.5
    assert cut > 5


def test_reaction_counts_frames():
    (now,), (late,) = (reaction.rows(Wall(f), 3) for f in ("", "late"))
    assert (now.value, now.passes) == (1, True)
    assert (late.value, late.passes) == (4, False)


def test_drift_is_seen_and_stillness_is_not():
    prompt = drift.prompts()[:1]
    (still,), (fades,) = (drift.play(Wall(f), None, prompt, 12) for f in ("", "fades"))
    assert still == pytest.approx(dict.fromkeys(still, 1.0), abs=0.01)
    assert fades["brightness"] < 0.9
    assert fades["sharpness"] < 0.9


def test_drift_compares_the_same_hour_of_the_stages_clock():
    for seconds in (120, 600, 1800):
        first, second, length = drift.windows(seconds)
        assert first == 30
        assert (second - first) % 64 == 0
        assert abs(second + length - seconds) <= 32
    first, second, length = drift.windows(8)
    assert first + length <= second
    assert second + length <= 8


def test_memory_tells_a_world_that_forgets():
    eye = SimpleNamespace(features=lambda x: F.avg_pool2d(x, 8).flatten(1))
    kept, lost = (memory.play(Wall(f), eye, SCENES) for f in ("", "forgets"))
    for kind in ("judge", "pixels"):
        assert memory.share(kept, kind) < 0.05
        assert memory.share(lost, kind) > 0.6


def test_sound_is_seen_in_the_frames():
    (hears,), (deaf,) = (sound.play(Wall(f), 1) for f in ("", "deaf"))
    assert hears > 0.95
    assert deaf < 0.2


def test_frechet_distance_of_known_gaussians():
    g = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(4000, 6, generator=g) for _ in range(3))
    assert few_steps.frechet(a, b) < 0.05
    assert few_steps.frechet(a, b + 2) == pytest.approx(6 * 4, rel=0.05)
    assert few_steps.frechet(a, 3 * b) == pytest.approx(6 * (3 - 1) ** 2, rel=0.05)
    (row,) = few_steps.rows(a, b + 2, c + 1, 4)
    assert row.value == pytest.approx(4, rel=0.1)
    assert not row.passes


class Signs:
    """A world that writes what it was asked into its image, and a judge that reads it there."""

    spec = WorldSpec("signs", 64, 60, 20.0, 1, ACTS, ("text",), "cpu")

    def __init__(self, ignores=""):
        self.ignores, self.stage = ignores, StageWorld()

    def reset(self, seed): ...

    def encode(self, prompt):
        return self.stage.encode(prompt)

    def step(self, c):
        frame = torch.zeros(1, 60, 64, 3, dtype=torch.uint8)
        for i, k in enumerate(ATTRIBUTES):
            frame[:, 10 * i : 10 * i + 10] = 0 if k == self.ignores else 10 * int(c.tokens[i].argmax())
        return frame

    def features(self, x):
        return torch.stack([x[:, 0, 10 * i + 5, 5] * 25.5 for i in range(len(ATTRIBUTES))], 1)

    def summary(self, features):
        return features

    def scores(self, features):
        return {k: -((features[:, i, None] - torch.arange(len(v))) ** 2) for i, (k, v) in enumerate(ATTRIBUTES.items())}


@pytest.mark.parametrize("held_out", [False, True])
def test_obedience_is_the_share_of_what_was_asked(held_out):
    prompts = obedience.asks(40, held_out)
    found = obedience.play(Signs(), Signs(), prompts)
    assert found.right == dict.fromkeys(ATTRIBUTES, 1.0)
    careless = obedience.play(Signs("figure"), Signs(), prompts)
    assert careless.right["figure"] == np.mean([p.values["figure"] == "none" for p in prompts])
    assert careless.right["place"] == 1
    row = obedience.row("1 step", careless, found)
    assert not row.passes
    assert row.detail["share"]["light"] == 1


def test_the_stage_as_a_world_shows_what_is_asked_and_comes_back():
    world = StageWorld(72, 128)
    prompt = ask(np.random.default_rng(1), {**QUIET, "place": "desert", "light": "noon"})
    for i, k in enumerate(ATTRIBUTES):
        assert ATTRIBUTES[k][int(tokens(world, prompt)[i].argmax())] == prompt.values[k]
    assert world.encode(Prompt("no such words")).values.sum() == 0
    good = camera.play(world, [prompt])
    assert set(good.values()) == {1.0}, good
    state = world.snapshot()
    c = camera.Controls(tokens(world, prompt), camera={"yaw": 1.0})
    a = world.step(c)
    world.step(c)
    world.restore(state)
    assert torch.equal(a, world.step(c))


def test_the_autoencoders_psnr_is_in_decibels():
    class Rough(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p = torch.nn.Parameter(torch.zeros(1))

        def encode(self, x):
            return x

        def decode(self, z):
            return z + 0.01 * torch.where(z > 0.5, -1.0, 1.0)  # off by 0.01 towards the middle: 40 dB

    spec = SimpleNamespace(height=36, width=64)
    (row,) = autoencoder.rows(SimpleNamespace(autoencoder=Rough(), spec=spec), 2)
    assert row.value == pytest.approx(40, abs=0.1)
    assert autoencoder.rows(SimpleNamespace(spec=spec), 2) == []


def test_a_judge_of_another_version_is_named(tmp_path, capsys):
    save_file({"whole.0.0.weight": torch.zeros(1)}, tmp_path / "old.safetensors")
    with pytest.raises(SystemExit) as left:
        main(["--stage", "--probe", str(tmp_path / "old.safetensors")])
    assert left.value.code == 2
    assert "wj train --stage probe" in capsys.readouterr().err


def test_rows_pass_on_their_side_of_the_target():
    assert Row("a", 34, 33).passes
    assert not Row("a", 0.11, 0.1, at_most=True).passes
    assert not Row("a", float("nan"), 0.1, at_most=True).passes
    assert Row("a", 0.934, 0.9, unit="%").show(0.934) == "93%"
    card = json.loads(json.dumps(Row("a", 34, 33, truth=40, detail={"n": 2}).json()))
    assert (card["value"], card["target"], card["pass"], card["truth"], card["detail"]) == (34, 33, True, 40, {"n": 2})


def test_a_sheet_and_a_clip_are_written(tmp_path):
    world = StageWorld(36, 64)
    cells = contact_sheet.cells()
    assert {p.values["place"] for row in cells for p, _ in row} == set(ATTRIBUTES["place"])
    contact_sheet.write(tmp_path / "sheet.png", world, world, rows=[row[:2] for row in cells[:2]])
    with Image.open(tmp_path / "sheet.png") as png:
        image = np.asarray(png)
    assert image.shape[1] > 4 * contact_sheet.THUMBNAIL_SIZE[0]
    x, y = contact_sheet.MARGIN, contact_sheet.MARGIN + 40
    first, beside = (
        image[y : y + 100, x + k * (contact_sheet.THUMBNAIL_SIZE[0] + contact_sheet.GAP) :][:, :200] for k in (0, 1)
    )
    assert first.std() > 20
    np.testing.assert_array_equal(first, beside)
    clip.write(tmp_path / "clip.mp4", world, seconds=2)
    with av.open(str(tmp_path / "clip.mp4")) as mp4:
        frames = [f.to_ndarray(format="rgb24") for f in mp4.decode(video=0)]
    assert len(frames) == 40
    assert frames[0].shape == (36, 64, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 5


def test_the_judge_takes_any_size_and_varies_images_without_moving_their_parts_apart():
    from worldjockey.model.train.probe import _vary

    judge = Probe().eval()
    for size in ((288, 512), (64, 96), (512, 288)):
        scores = judge(torch.rand(2, 3, *size))
        assert {k: v.shape for k, v in scores.items()} == {k: (2, len(v)) for k, v in ATTRIBUTES.items()}
    whole = torch.rand(8, 3, 16, 16)
    parts = whole.repeat_interleave(2, 0)
    a, b = _vary([whole, parts], torch.Generator().manual_seed(0))
    flipped = (a - whole.flip(-1)).abs().mean((1, 2, 3)) < (a - whole).abs().mean((1, 2, 3))
    twice = (b - parts.flip(-1)).abs().mean((1, 2, 3)) < (b - parts).abs().mean((1, 2, 3))
    assert 0 < flipped.sum() < 8
    assert torch.equal(twice, flipped.repeat_interleave(2))
