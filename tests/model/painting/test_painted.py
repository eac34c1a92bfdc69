"""A driver and a painter played as one world."""

import threading

import numpy as np
import pytest
import torch
from worldjockey.model import load
from worldjockey.model.nano.world import Nano
from worldjockey.model.painting.live_picture import LivePicture
from worldjockey.model.painting.painted import Painted
from worldjockey.model.painting.tokens import joined, parted
from worldjockey.model.spec import Controls, Prompt, Tokens, WorldSpec, WorldState, slerp
from worldjockey.model.worlds.testcard import TestCard

PATIENCE_S = 60.0


class Sketch:
    """A painter that fades its live picture (`faded`), by so much as it is allowed to."""

    def __init__(self, width=256, height=144):
        self.spec = WorldSpec("sketch", width, height, 30.0, 1, (), ("text", "live"), "cpu", qualities=("one", "two"))
        self.asked, self.level, self.count = [], 0, 0
        self.may_paint = threading.Event()
        self.may_paint.set()
        self.fails = False

    def encode(self, prompt):
        if prompt.image is not None and not prompt.text:
            raise ValueError("text only")
        words = tuple(prompt.text.split())
        parts = np.stack([np.full((2, 5), len(w), np.float32) for w in words]) if words else None
        return Tokens(np.zeros((2, 5), np.float32) if parts is None else parts.sum(0), words, parts)

    def reset(self, seed):
        self.count = seed

    def set_quality(self, level):
        self.level = level

    def step(self, controls):
        assert self.may_paint.wait(PATIENCE_S)
        if self.fails:
            self.fails = False
            raise RuntimeError("out of paint")
        self.asked.append(controls)
        self.count += 1
        live = torch.from_numpy(controls.live).float()
        drawn = live * controls.strength + faded(live) * (1 - controls.strength)
        return drawn.round().to(torch.uint8)[None]

    def snapshot(self):
        return WorldState({"count": self.count})

    def restore(self, state):
        self.count = state.data["count"]


def faded(picture):
    return 100 + picture * 0.5


def psnr(a, b):
    return 10 * np.log10(255**2 / max(((np.asarray(a, float) - np.asarray(b, float)) ** 2).mean(), 1e-9))


def always(driver, painter=None):
    """Every frame is a painting."""
    return Painted(driver, painter or Sketch(), wait=float("inf"))


def one(world, text="#204060", **values):
    return world.step(Controls(world.encode(Prompt(text)).values, **values))[0].numpy()


def test_paint_fades_from_the_driver_alone_to_the_painter_alone():
    world = always(TestCard())
    colours = [one(world, paint=paint)[20, 20] for paint in (0.0, 0.5, 1.0)]
    assert np.abs(colours[0] - np.array([0x20, 0x40, 0x60])).max() <= 1
    assert np.abs(colours[2] - faded(np.array([0x20, 0x40, 0x60]))).max() <= 1
    assert np.abs(colours[1] - (colours[0].astype(float) + colours[2]) / 2).max() <= 1
    assert world.painted == 2, "nothing is painted that nobody sees"
    assert one(world).shape == (world.spec.height, world.spec.width, 3) == (144, 256, 3)


def test_both_are_told_the_prompt_and_each_gets_its_own_tokens_back():
    driver, painter = TestCard(), Sketch()
    world = always(driver, painter)
    first, second = (world.encode(Prompt(text)) for text in ("#204060 coral", "sea"))
    mixed = slerp([first.values, second.values], [0.3, 0.7])
    shapes = (1, 3), (2, 5)
    for which, alone in enumerate((driver, painter)):
        values = [alone.encode(Prompt(text)).values for text in ("#204060 coral", "sea")]
        assert parted(mixed, *shapes)[which] == pytest.approx(slerp(values, [0.3, 0.7]), abs=1e-4)
    world.step(Controls(mixed))
    assert painter.asked[-1].tokens == pytest.approx(parted(mixed, *shapes)[1])


def test_a_word_that_both_know_has_one_weight():
    a = Tokens(np.ones((1, 2), np.float32), ("sea", "red"), np.array([[[0.25, 0.25]], [[0.75, 0.75]]], np.float32))
    b = Tokens(np.full((2, 3), 4.0, np.float32), ("coral", "sea"), rows=np.array([[1, 0], [0, 1]], np.float32))
    both = joined(a, b)
    assert both.words == ("sea", "red", "coral")
    assert both.parts.shape == (3, 1, 3), "a painter that owns rows adds no megabytes a word"
    one, two = parted(both.weighted({"sea": 0.0}), (1, 2), (2, 3))
    assert one == pytest.approx(a.weighted({"sea": 0.0}))
    assert two == pytest.approx(b.weighted({"sea": 0.0}))


def test_images_go_to_whoever_takes_them():
    world = always(TestCard())
    red = np.zeros((8, 8, 3), np.uint8)
    red[:] = (200, 30, 20)
    driven, _ = parted(world.encode(Prompt(image=red)).values, (1, 3), (2, 5))
    assert driven[0] == pytest.approx([200, 30, 20])


@pytest.fixture(scope="module")
def nano():
    return Nano.load(device="cpu")


@pytest.mark.parametrize("camera", [{"yaw": 0.6}, {"strafe": 0.6}])
def test_a_slow_painter_holds_nothing_up_and_its_painting_moves_along(nano, camera, monkeypatch):
    painter, drawn, step = Sketch(512, 288), [], nano.step
    monkeypatch.setattr(nano, "step", lambda controls: drawn.append(step(controls)[0].numpy()) or step_of(drawn))
    nano.reset(0)
    world = Painted(nano, painter, wait=PATIENCE_S)
    tokens = world.encode(Prompt("a forest at noon, nobody there")).values
    for _ in range(8):
        last = one_of(world, tokens, camera)
    world._wait = 0.0
    painter.may_paint.clear()  # from here on it paints one picture for ever
    held, before = last, world.painted
    shown = [one_of(world, tokens, camera) for _ in range(4)]
    assert world.painted == before, "no step waited for it"
    painter.may_paint.set()
    truth = faded(drawn[-1].astype(float))
    nearer = psnr(shown[-1], truth) - psnr(held, truth)
    assert nearer > 2, "the painting moved along with the camera"


def step_of(drawn):
    return torch.from_numpy(drawn[-1])[None]


def one_of(world, tokens, camera):
    return world.step(Controls(tokens, camera=camera, paint=1.0))[0].numpy()


def test_a_flash_shows_before_the_next_painting():
    painter = Sketch()
    world = always(TestCard(), painter)
    dark = one(world, "#202020", paint=1.0)
    world._wait = 0.0
    painter.may_paint.clear()
    bright = one(world, "#a0a0a0", paint=1.0)
    painter.may_paint.set()
    assert bright[20:60].mean() - dark[20:60].mean() == pytest.approx(0x80, abs=8)


def test_the_painter_learns_how_its_picture_moved_since_it_painted_last(nano):
    painter = Sketch(512, 288)
    nano.reset(0)
    world = Painted(nano, painter, wait=PATIENCE_S)
    tokens = world.encode(Prompt("mountains at noon, nobody there")).values
    for _ in range(6):
        one_of(world, tokens, {"yaw": 1.0})
    first = painter.asked[-1]
    assert np.nanmedian(first.motion[..., 0]) < -0.005, "the camera turns right, so the picture goes to the left"
    assert first.depth is not None
    world._wait = 0.0
    painter.may_paint.clear()
    for _ in range(3):
        one_of(world, tokens, {"yaw": 1.0})
    painter.may_paint.set()
    world._wait = PATIENCE_S
    painted = world.painted
    while world.painted < painted + 2:
        one_of(world, tokens, {"yaw": 1.0})
    further = painter.asked[-1].motion
    assert np.nanmedian(further[..., 0]) / np.nanmedian(first.motion[..., 0]) == pytest.approx(3, abs=0.8)


def test_it_paints_over_the_live_picture_and_sees_how_that_moves():
    painter = Sketch()
    world = always(LivePicture(), painter)
    rng = np.random.default_rng(0)
    wall = np.kron(rng.integers(0, 255, (18, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    tokens = world.encode(Prompt("an oil painting")).values
    for at in (0, 8):
        frame = world.step(Controls(tokens, live=np.ascontiguousarray(wall[:, at : at + 256]), paint=1.0))[0].numpy()
    assert psnr(frame, faded(wall[:, 8:264].astype(float))) > 30
    assert np.nanmedian(painter.asked[-1].motion[..., 0]) == pytest.approx(-8 / 256, abs=0.01)


def test_the_same_seed_is_the_same_world_and_a_snapshot_goes_on(nano):
    def play(world, count):
        return [one(world, "a city at night", paint=0.7, camera={"yaw": 1.0}) for _ in range(count)]

    world = always(nano)
    world.reset(7)
    first = play(world, 4)
    state = world.snapshot()
    rest = play(world, 2)
    world.reset(7)
    assert all(np.array_equal(a, b) for a, b in zip(first, play(world, 4), strict=True))
    world.restore(state)
    assert all(np.array_equal(a, b) for a, b in zip(rest, play(world, 2), strict=True))
    with pytest.raises(ValueError, match="not of sketch over nano"):
        world.restore(WorldState({}))


def test_an_error_of_the_painter_is_told_and_the_next_picture_is_painted():
    painter = Sketch()
    world = always(TestCard(), painter)
    one(world)
    painter.fails = True
    with pytest.raises(RuntimeError, match="out of paint"):
        one(world)
    assert one(world, paint=1.0)[20, 20] == pytest.approx(faded(np.array([0x20, 0x40, 0x60])), abs=1)


def test_matte_acts_and_qualities_are_those_of_driver_and_painter():
    painter = Sketch()
    world = always(TestCard(), painter)
    assert world.spec.acts == TestCard.spec.acts
    assert world.spec.qualities == ("one", "two")
    world.set_quality(1)
    assert painter.level == 1
    frame = one(world, matte=True)
    assert frame.shape[-1] == 4
    assert frame[-2, :, 3].max() == 255
    assert frame[20, :, 3].max() == 0


def test_another_shape_of_the_painter_cuts_the_middle_out():
    square, wide = always(TestCard(), Sketch(144, 144)), always(TestCard(), Sketch(256, 144))
    frames = [one(world, seconds) for world, seconds in ((square, "#204060"), (wide, "#204060"))]
    assert frames[0].shape == (144, 144, 3)
    assert np.abs(frames[0][20, 20].astype(int) - frames[1][20, 20]).max() <= 1


def test_only_worlds_that_paint_paint_over_another():
    with pytest.raises(ValueError, match=r"nano has no option over=testcard"):
        load("nano:over=testcard")
    with pytest.raises(ValueError, match=r"turbo has no option over=tuesday.*nano.*live"):
        load("turbo:over=tuesday")
    with pytest.raises(ValueError, match="turbo has no option over=turbo"):
        load("turbo:over=turbo")


def test_paintings_are_counted_apart_from_frames():
    painter = Sketch()
    world = Painted(TestCard(), painter, wait=0.0)
    painter.may_paint.clear()
    for _ in range(5):
        one(world)
    assert world.painted_fps == 0
    painter.may_paint.set()
    world._wait = PATIENCE_S
    for _ in range(5):
        one(world)
    assert world.painted_fps > 0
