"""Stills show what was asked for, the controls that come with one give it, and the played world is left as it was."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.evaluate.probe import load_probe
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.world.prompt_encoder import Encoder
from worldjockey.node.world.prompt_reading import ANSWER_BYTES, reading
from worldjockey.node.world.stills import SIZE, Painter, slots, write_jpeg


@pytest.fixture(scope="module")
def nano():
    return load("nano:runtime=torch", device="cpu")


@pytest.fixture
def box():
    made = Mailbox()
    yield made
    made.unlink()


@pytest.fixture
def painter(nano, box):
    return Painter(nano, Encoder(nano, box), box)


@pytest.fixture(scope="module")
def probe():
    return load_probe()


def test_a_pad_is_drawn_as_its_prompt_says_and_the_world_goes_on_as_before(nano, painter, probe, tmp_path: Path):
    nano.reset(3)
    controls = Controls(nano.encode(Prompt("a city at night")).values, dt=0.1)
    nano.step(controls)
    before = nano.snapshot()
    expected = nano.step(controls).numpy()
    nano.restore(before)
    for prompt, seen in {"desert at noon": ("desert", "noon"), "sea at sunset": ("sea", "sunset")}.items():
        path = tmp_path / "pad.jpg"
        write_jpeg(path, painter.pad(prompt, 0))
        with Image.open(path) as image:
            assert image.size == SIZE
            read = probe.read(np.array(image.resize((nano.spec.width, nano.spec.height))))
        assert (read["place"], read["light"]) == seen
    assert np.array_equal(nano.step(controls).numpy(), expected)


@pytest.mark.slow
def test_the_present_scene_is_tried_in_every_light_and_the_controls_say_the_same(nano, painter, probe, box):
    box.post("prompt", "A desert at noon, calm", 1.0)
    nano.reset(0)
    controls = Controls(nano.encode(Prompt("A desert at noon, calm")).values, dt=0.1)
    for _ in range(8):
        nano.step(controls)
    seen = {}
    for value, named, pixels in painter.variants("light", nano.snapshot()):
        read = probe.read(pixels)
        seen[value] = read["light"]
        assert read["place"] == "desert", value
        assert named["prompt"].lower().startswith("a desert at ")
        assert reading(nano, named["prompt"])["values"]["light"][0][0] == value
    assert list(seen) == list(nano.spec.attributes["light"])
    assert sum(value == found for value, found in seen.items()) >= len(seen) - 1


def test_acts_are_tried_by_their_own_control_and_other_attributes_are_refused(nano, painter, box):
    box.post("prompt", "a meadow at noon", 1.0)
    stills = {value: (named, pixels) for value, named, pixels in painter.variants("act", None)}
    assert list(stills) == list(nano.spec.acts)
    assert stills["jump"][0] == {"act": "jump"}
    assert np.abs(stills["jump"][1].astype(int) - stills["bow"][1]).max() > 60, "the figure does something else"
    with pytest.raises(ValueError, match="it has act, place, light"):
        next(painter.variants("colour", None))


@pytest.mark.parametrize(
    ("text", "attribute", "value", "expected"),
    [("a calm sea at noon", "light", "night", "a calm sea at night"), ("", "light", "night", "night"),
     ("A Sea", "weather", "rain", "A Sea, rain"), ("snow in the city, snow", "weather", "fog", "fog in the city, fog"),
     ("a calm sea", "mood", "menacing", "a menacing sea")],
)  # fmt: skip
def test_another_value_takes_the_place_of_the_words_that_name_one(painter, text, attribute, value, expected):
    assert painter.instead(text, attribute, value) == expected


def test_only_prompts_that_are_seen_are_changed(box):
    values = box.read().values
    assert slots(values) == ["prompt"]
    assert slots({**values, "pad/3": 1.0}) == ["pad/3"]
    assert slots({**values, "pad/3": 0.5, "morph": 0.5}) == ["prompt", "pad/3", "prompt/b"]
    assert slots({**values, "morph": 1.0}) == ["prompt/b"]


def test_what_the_world_reads_of_a_text(nano):
    read = reading(nano, "a calm sea at noon with a potato")
    assert read["understood"] > 0.9
    assert read["values"]["place"][0][0] == "sea"
    assert read["values"]["light"][0][0] == "noon"
    known = {word["word"]: word["known"] for word in read["words"]}
    assert known["sea"]
    assert known["at"]
    assert not known["potato"]
    assert len(json.dumps(reading(nano, "é" * 8000 + " x" * 4000))) < ANSWER_BYTES
    assert reading(load("testcard"), "ham eggs")["words"][0] == {"word": "ham", "known": True, "weight": 1.0}
