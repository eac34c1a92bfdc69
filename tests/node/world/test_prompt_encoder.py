"""Prompts are encoded beside the frame path; what a cue will ask for is known before it is asked."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from worldjockey.integrations import ControlEvent
from worldjockey.model import Prompt, load
from worldjockey.model.spec import Tokens
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.show.media import Media
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.show_clock import ShowClock
from worldjockey.node.world import prompt_encoder as encoders
from worldjockey.node.world.process import WorldOptions, WorldStepper
from worldjockey.node.world.prompt_encoder import Encoder


class Reader:
    """A world that only reads: the token of a text is its length; "?" cannot be read, and "slow" waits for `go`."""

    def __init__(self):
        self.read, self.go, self.begun = [], threading.Event(), threading.Event()

    def encode(self, prompt):
        self.read.append(prompt.text)
        if prompt.text == "slow":
            self.begun.set()
            assert self.go.wait(60)
        if prompt.text == "?":
            raise ValueError("no word in it")
        return Tokens(np.full((1, 256), len(prompt.text), np.float32))


@pytest.fixture
def box():
    made = Mailbox()
    yield made
    made.unlink()


def said(encoder):
    found = []
    while not encoder.done.empty():
        name, text, tokens = encoder.done.get()
        assert tokens is None or tokens.values[0, 0] == len(text.text)
        found.append((name, text.text))
    return found


def test_what_is_played_comes_before_what_cues_will_ask_for(box):
    world = Reader()
    encoder = Encoder(world, box, ahead=["night", "a storm", "night", ""])
    box.post("prompt", "sea", 1.0)
    encoder.once()
    assert world.read == ["sea"]
    assert encoder.waiting == 2
    while encoder.prepare():
        pass
    assert (world.read, encoder.waiting) == (["sea", "night", "a storm"], 0)
    assert said(encoder) == [("prompt", "sea")]


def test_what_is_known_is_heard_at_once_though_the_encoder_is_busy(box, wait_for):
    world = Reader()
    encoder = Encoder(world, box, ahead=["night"])
    encoder.prepare()
    box.post("prompt", "slow", 1.0)
    encoder.start()
    assert world.begun.wait(60)
    box.post("prompt", "night", 2.0)
    encoder.recall()
    assert said(encoder) == [("prompt", "night")]
    box.post("pad/1/text", "after", 3.0)
    world.go.set()
    wait_for(lambda: "after" in world.read)
    wait_for(lambda: not encoder.done.empty())
    encoder.end()
    encoder.join(60)
    assert said(encoder) == [("pad/1/text", "after")], "the older prompt does not come back when it is done"


def test_a_prompt_that_cannot_be_read_is_named_and_the_others_are_prepared(box):
    encoder = Encoder(Reader(), box, ahead=["?", "night"])
    while encoder.prepare():
        pass
    assert encoder.error == "the prompt '?' of a cue or a bank cannot be encoded: no word in it"
    box.post("prompt", "night", 1.0)
    encoder.recall()
    assert said(encoder) == [("prompt", "night")]


def test_a_text_that_comes_again_is_not_encoded_again_and_nothing_is_an_empty_pad(box):
    world = Reader()
    encoder = Encoder(world, box)
    for text in ("sea", "", "sea"):
        box.post("prompt", text, 1.0)
        box.post("pad/1/text", text, 1.0)
        encoder.once()
    assert world.read == ["sea", ""]
    found = []
    while not encoder.done.empty():
        name, _, tokens = encoder.done.get()
        found.append((name, tokens is None))
    assert [empty for name, empty in found if name == "prompt"] == [False, False, False]
    assert [empty for name, empty in found if name == "pad/1/text"] == [False, True, False]


def test_tokens_that_are_kept_are_bounded(box, monkeypatch):
    monkeypatch.setattr(encoders, "CACHE_BYTES", 4096)
    world = Reader()
    encoder = Encoder(world, box, ahead=[f"cue {n}" for n in range(4)])
    while encoder.prepare():
        pass
    assert len(world.read) == 4
    for text in ("cue 3", "another", "cue 3", "cue 0", "cue 3"):
        box.post("prompt", text, 1.0)
        encoder.once()
    assert world.read[4:] == ["another", "cue 0"], "what was used last stays"


def test_a_cue_fires_without_its_prompt_being_encoded_then(box):
    show = Show.parse("""
prompt: "#ff0000"
values: {transition: 0}
cues:
  - {name: green, prompt: "#00ff00"}
  - {name: blue, prompt: "#0000ff", seconds: 2}
  - {name: pad, pads: {1: 1}, values: {pad/1/text: "#ffffff", mod/1/to: energy}}
""")
    assert show.ahead() == ("#00ff00", "#0000ff", "#ffffff")
    world = load("testcard")
    desk = Desk(show, box, ShowClock(120, now=1000.0))
    player = WorldStepper(world, box, WorldOptions("testcard", ahead=show.ahead()))
    player.encoder.once()
    while player.encoder.prepare():
        pass
    world.encode = None  # nothing can be encoded any more

    def picture():
        frames, info = player.step(0.1)
        return tuple(int(v) for v in frames[0, 8, 8]), info.newest_control_at

    assert picture() == ((255, 0, 0), 0.0)
    desk.deliver(ControlEvent("cue/go", ("green",), 1001.0, "a hand"))
    assert picture() == ((0, 255, 0), 1001.0), "in the very next step"
    desk.deliver(ControlEvent("cue/go", ("blue",), 1002.0, "a hand"))
    assert 0 < picture()[0][2] < 255, "with its transition"


def test_a_prompt_that_says_little_to_the_world_is_named(box):
    class Choosy(Reader):
        def encode(self, prompt):
            tokens = super().encode(prompt)
            return replace(tokens, understood=0.1 if prompt.text == "potato" else 0.9)

    encoder = Encoder(Choosy(), box)
    for text, named in (("the sea", False), ("potato", True), ("the sea at night", False)):
        box.post("prompt", text, 1.0)
        encoder.once()
        assert ("potato" in encoder.unread) == named
    assert not encoder.error


@pytest.mark.slow
def test_the_embedded_world_tells_what_it_could_not_read():
    world = load("nano:runtime=torch", device="cpu")
    assert all(world.encode(Prompt(text)).understood > 0.6 for text in ("rain", "a city at night", "sad", "dance", ""))
    assert all(world.encode(Prompt(text)).understood < 0.3 for text in ("potato", "error 404", "invoice 2026"))
    assert world.encode(Prompt("potato", image=np.zeros((64, 64, 3), np.uint8))).understood == 1.0


def test_pictures_and_prompts_that_an_edit_brings_are_read_while_the_show_plays(box, tmp_path):
    world, cell = Reader(), Cell(encoders.PROMPTS_BYTES)
    world.spec = SimpleNamespace(fps=24.0)
    pictures = []
    world.encode = lambda prompt, encode=world.encode: pictures.append(prompt.image) or encode(prompt)
    try:
        encoder = Encoder(world, box, edits=cell)
        Image.new("RGB", (8, 8), "red").save(tmp_path / "x.png")
        media = {"at night [x.png]": Media(str(tmp_path / "x.png"))}
        cell.write(encoders.packed_prompts(media, ["a storm"]))
        box.post("pad/3/text", "at night [x.png]", 1.0)
        encoder.once()
        assert world.read[-1] == "at night"
        assert pictures[-1].shape == (8, 8, 3)
        assert encoder.waiting == 1
        while encoder.prepare():
            pass
        assert world.read[-1] == "a storm"
        cell.write(encoders.packed_prompts({}, ["x" * encoders.PROMPTS_BYTES]))
        encoder.once()
        assert encoder.waiting == 0
    finally:
        cell.unlink()
