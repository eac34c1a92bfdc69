"""A continuous story: how the balance pulls it, how it goes on in silence, and how the performer overrules it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.story import StoryDriver
from worldjockey.node.control.story_engine import StoryEngine
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.show.schema import Show
from worldjockey.node.show.story import DECK, FIRST_PAD
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.timing.show_clock import ShowClock

SHOW = """
story:
  balances: [storm, night]
  scenes:
  - name: shore
    prompt: a calm sea at dawn
    moods: {storm: a storm over the sea, night: the sea at night}
    values: {energy: 0.2}
    seconds: [10, 60]
    transition: 4 s
    deeds: [{after: 3, do: act/wave}]
    ways:
    - {to: city, pull: {storm: 1}, takes: 20}
    - {to: forest, pull: {storm: -1}, takes: 20, drift: 0.01}
  - {name: city, prompt: neon city, values: {energy: 0.8, freeze: true}, act: dance, seconds: [5, 20], transition: 2 s,
     ways: [{to: end}]}
  - {name: forest, prompt: a forest, seconds: 10, ways: [{to: end}]}
  - {name: end, prompt: a temple, seconds: [5, 10]}
"""
SHORE, STORM, NIGHT, CITY = FIRST_PAD, FIRST_PAD + 1, FIRST_PAD + 2, FIRST_PAD + 4


class Telling:
    def __init__(self, mailbox: Mailbox) -> None:
        self.desk = Desk(Show.parse(SHOW), mailbox, ShowClock(120, now=1000.0))
        assert self.desk.show.story is not None
        self.crowd: dict[str, float] = {}
        self.story = StoryDriver(self.desk.show.story, self.desk, lambda: self.crowd)
        self.desk.add_driver(self.story)
        self.now = 1000.0
        self.send("story/on", True)

    def send(self, target: str, *args: Any) -> None:
        self.desk.deliver(ControlEvent(target, args, self.now, "a hand"))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            self.desk.advance(self.now)

    def __getitem__(self, name: str) -> Any:
        return self.desk.read(name)

    @property
    def scene(self) -> str:
        return str(self.story.status()["scene"])


@pytest.fixture
def telling() -> Iterator[Telling]:
    box = Mailbox()
    yield Telling(box)
    box.unlink()


def test_a_scene_lies_on_pads_and_its_moods_follow_the_balance(telling: Telling) -> None:
    telling.run(1)
    assert telling[f"pad/{SHORE}/text"] == "a calm sea at dawn"
    assert telling[f"pad/{STORM}/text"] == "a storm over the sea"
    assert (telling[f"pad/{SHORE}"], telling[f"pad/{STORM}"]) == (1.0, 0.0)
    telling.send("story/balance/1", 0.75)
    telling.run(1)
    assert telling[f"pad/{STORM}"] == pytest.approx(0.5, abs=0.02)
    assert telling[f"pad/{SHORE}"] == pytest.approx(0.5, abs=0.02)
    telling.send("story/balance/1", 1.0)
    telling.send("story/balance/2", 1.0)
    telling.run(1)
    assert telling[f"pad/{NIGHT}"] == pytest.approx(0.5, abs=0.02)
    assert telling[f"pad/{SHORE}"] == 0.0


def test_the_balance_pulls_the_story_and_what_comes_shows_through(telling: Telling) -> None:
    telling.send("story/balance/1", 1.0)
    telling.run(9)
    assert telling.scene == "shore"
    assert telling["act"] == "wave"
    telling.run(6)  # the pressure is 0.75
    assert telling[f"pad/{CITY}/text"] == "neon city"
    assert 0.05 < telling[f"pad/{CITY}"] < 0.25
    telling.run(7.5)  # full at 20 s, and then the next bar
    assert telling.scene == "city"
    assert telling["act"] == "dance"
    assert telling["freeze"] is True
    weight = telling[f"pad/{CITY}"]
    assert 0.05 < weight < 1  # a dissolve, no cut
    telling.run(3)
    assert telling[f"pad/{CITY}"] == 1.0
    assert sum(telling[f"pad/{pad}"] for pad in (SHORE, STORM, NIGHT)) == 0.0
    assert telling["energy"] == pytest.approx(0.8, abs=0.02)


def test_silence_goes_its_own_way(telling: Telling) -> None:
    telling.run(63)
    assert telling.scene == "forest"
    telling.run(12 + 14)
    assert telling.scene == "end"
    telling.run(30)
    assert telling.scene == "end"
    assert telling.story.status()["ended"]


def test_the_audience_is_the_balance_where_it_is_in(telling: Telling) -> None:
    telling.crowd = {"storm": 1.0}
    telling.run(1)
    assert telling[f"pad/{STORM}"] == pytest.approx(1.0, abs=0.02)
    telling.send("story/pull", 0.5)
    telling.run(1)
    assert telling[f"pad/{STORM}"] == pytest.approx(0.5, abs=0.02)
    telling.crowd = {}
    telling.run(1)
    assert telling[f"pad/{STORM}"] == 0.0


def test_the_performer_overrules(telling: Telling) -> None:
    telling.run(2)
    telling.send(f"pad/{SHORE}", 0.3)
    telling.send("story/balance/1", 1.0)
    telling.run(2)
    assert telling[f"pad/{SHORE}"] == 0.3
    assert telling.story.status()["touched"] == [f"pad/{SHORE}"]
    telling.send("story/back")
    telling.run(0.2)
    assert telling[f"pad/{SHORE}"] == pytest.approx(0.0, abs=0.02)
    assert telling.story.status()["touched"] == []
    telling.send("story/go", "end")
    assert telling.scene == "end"
    telling.send("story/hold", True)
    telling.run(30)
    assert telling.story.status()["seconds"] == 0.0
    telling.send("story/hold", False)
    telling.send("story/go", "moon")
    assert "shore, city, forest, end" in telling.desk.error
    telling.send("story/on", False)
    telling.run(0.2)
    assert sum(telling[f"pad/{pad}"] for pad in range(FIRST_PAD, FIRST_PAD + 8)) == 0.0
    telling.send("story/go")
    assert "story/on" in telling.desk.error


def decks(telling: Telling) -> list[tuple[str, float]]:
    """The text and the weight of each pad that the story plays."""
    return [(telling[f"pad/{pad}/text"], telling[f"pad/{pad}"]) for pad in range(FIRST_PAD, FIRST_PAD + 2 * DECK)]


def test_no_prompt_jumps_when_the_story_is_sent_on_in_the_middle_of_a_change(telling: Telling) -> None:
    telling.run(1)
    telling.send("story/go", "city")
    before, largest, replaced = decks(telling), 0.0, 0.0
    for n in range(160):
        telling.run(0.1)
        if n == 8:
            assert 0.05 < telling[f"pad/{FIRST_PAD}"] < 0.95, "in the middle of the change"
            telling.send("story/go", "end")
        if n == 60:
            telling.send("story/go", "shore")
        now = decks(telling)
        for (text, weight), (was, weighed) in zip(now, before, strict=True):
            if text == was:
                largest = max(largest, abs(weight - weighed))
            else:
                replaced = max(replaced, weighed, weight)
        before = now
    assert telling.scene == "shore"
    assert replaced <= 0.06, "prompts are replaced where nobody sees them"
    assert largest <= 0.15


def test_a_scene_that_shows_through_grows_from_there(telling: Telling) -> None:
    telling.send("story/balance/1", 1.0)
    telling.run(1)
    before = decks(telling)
    while telling.scene == "shore":
        telling.run(0.1)
        now = decks(telling)
        assert all(abs(weight - weighed) <= 0.15 for (_, weight), (_, weighed) in zip(now, before, strict=True))
        before = now


def test_undo_takes_back_what_the_performer_did(telling: Telling) -> None:
    telling.send("speed", 0.5)
    telling.send("story/balance/1", 0.9)
    telling.run(5)
    telling.send("undo")
    telling.send("undo")
    assert telling["speed"] == 1.0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("ways: [{to: end}]}\n  - {name: forest|ways: [{to: moon}]}\n  - {name: forest", "no scene 'moon'"),
        ("pull: {storm: 1}|pull: {rain: 1}", "no balance 'rain'"),
        ("moods: {storm:|moods: {rain:", "no balance 'rain'"), ("name: end|name: city", "two scenes 'city'"),
        ("seconds: [10, 60]|seconds: [60, 10]", "least"), ("do: act/wave|do: story/go end", "use a way"),
        ("to: city, pull|to: forest, pull", "no way leads to the scene 'city'"), ("act: dance|act: fly", "fly"),
    ],
)  # fmt: skip
def test_a_wrong_story_is_refused_with_the_fix(wrong: str, reason: str) -> None:
    old, new = wrong.split("|")
    assert old in SHOW
    with pytest.raises(ShowError, match=reason):
        Show.parse(SHOW.replace(old, new, 1))


balances = st.fixed_dictionaries({"storm": st.floats(0, 1), "night": st.floats(0, 1)})


@given(st.lists(st.tuples(st.floats(0.01, 5), balances), min_size=1, max_size=80))
def test_it_is_never_stuck_and_keeps_to_its_times(steps: list[tuple[float, dict[str, float]]]) -> None:
    story = Show.parse(SHOW).story
    assert story is not None
    one, other = StoryEngine(story), StoryEngine(story)
    for seconds, balance in steps:
        for engine in (one, other):
            engine.advance(seconds, balance, 2.0)
            least, most = engine.now.seconds
            if engine.decided is not None:
                assert engine.seconds >= least
                engine.go(engine.decided)
            else:
                assert engine.ended or engine.left is not None or engine.seconds < most
        assert one == other  # the same balances give the same story
